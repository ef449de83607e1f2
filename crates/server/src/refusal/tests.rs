use super::*;

#[test]
fn what_is_too_large_is_for_the_caller_to_change_and_what_waits_is_to_be_waited_for() {
    let too_large = Refusal::from(ReplicaError::TooLarge { bytes: 30, bytes_max: 20 });
    assert_eq!(too_large.code, Code::InvalidArgument);
    assert!(too_large.message.contains("may take 20; send it as several"), "{}", too_large.message);
    let busy = Refusal::from(ReplicaError::BusyBytes { bytes_max: 20 });
    assert_eq!(busy.code, Code::ResourceExhausted);
    assert!(busy.message.contains("20 bytes are waiting already; try again later"), "{}", busy.message);
}
