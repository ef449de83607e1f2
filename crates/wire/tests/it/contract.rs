//! Is every message, field, enum value and call exactly as the published client (authzed 1.25) has it?
//!
//! `authzed_1_25_facts.txt` lists those facts, one a line, sorted:
//! `message : number name [repeated] type [in oneof]`, `message empty`, `enum = number name` and
//! `service / call [stream] request -> [stream] response`.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

const FACTS: &str = include_str!("authzed_1_25_facts.txt");

fn enumeration(scope: &str, e: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    for value in &e.value {
        facts.insert(format!("{scope}.{} = {} {}", e.name(), value.number(), value.name()));
    }
}

fn message(scope: &str, m: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", m.name());
    if m.field.is_empty() {
        facts.insert(format!("{name} empty"));
    }
    for field in &m.field {
        let typed = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
        let oneof = field
            .oneof_index
            .map(|i| format!(" in {}", m.oneof_decl[usize::try_from(i).unwrap()].name()))
            .unwrap_or_default();
        facts.insert(format!("{name} : {} {} {repeated}{typed}{oneof}", field.number(), field.name()));
    }
    for e in &m.enum_type {
        enumeration(&name, e, facts);
    }
    for nested in &m.nested_type {
        message(&name, nested, facts);
    }
}

fn service(scope: &str, s: &ServiceDescriptorProto, facts: &mut BTreeSet<String>) {
    let stream = |yes: bool| if yes { "stream " } else { "" };
    for call in &s.method {
        facts.insert(format!(
            "{scope}.{} / {} {}{} -> {}{}",
            s.name(),
            call.name(),
            stream(call.client_streaming()),
            call.input_type().trim_start_matches('.'),
            stream(call.server_streaming()),
            call.output_type().trim_start_matches('.'),
        ));
    }
}

fn compiled_facts() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(idhini_wire::FILE_DESCRIPTOR_SET).unwrap();
    let mut facts = BTreeSet::new();
    for file in set.file.iter().filter(|f| f.package() == "authzed.api.v1") {
        for e in &file.enum_type {
            enumeration(file.package(), e, &mut facts);
        }
        for m in &file.message_type {
            message(file.package(), m, &mut facts);
        }
        for s in &file.service {
            service(file.package(), s, &mut facts);
        }
    }
    facts
}

#[test]
fn every_fact_of_the_published_client_holds_and_no_other() {
    let wanted: BTreeSet<String> = FACTS.lines().map(str::to_owned).collect();
    let compiled = compiled_facts();
    let missing: Vec<_> = wanted.difference(&compiled).collect();
    let surplus: Vec<_> = compiled.difference(&wanted).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}

#[test]
fn there_are_twenty_seven_calls() {
    assert_eq!(compiled_facts().iter().filter(|f| f.contains(" / ")).count(), 27);
}
