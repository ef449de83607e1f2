//! About which namespace is a request, and to which call does the rest of its path lead?
//!
//! `/v1/team_a/permissions/check` is `/v1/permissions/check` about the namespace `team_a`. What clients of OpenBao and Vault
//! call is behind the name `sys` or `auth`, which no namespace can have; every other call is found by how its path ends.
//!
//! # Invariants
//! * A path leads to one call about one namespace: no call's path is the end of another's, and no namespace can be called
//!   `sys` or `auth`.
//! * A path is decoded once, each name for itself: what an encoded `/` would make of it is refused.
//! * A header and a path that both name a namespace name one below the other, as clients of OpenBao mean it.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use idhini_replica::control::NamespacePath;
use tonic::Status;

use super::routes::{self, Route};
use crate::admission::{NAMESPACE, VAULT_NAMESPACE};
use crate::pipeline::VAULT_TOKEN;
use crate::refusal::Refusal;

/// Names that no namespace can have, behind which stand the calls of OpenBao.
const OF_OPENBAO: [&str; 2] = ["sys", "auth"];
/// Most names of a path; more than a namespace in a namespace has.
const NAMES_MAX: usize = 64;

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Target {
    /// To a call of the contract.
    Contract(Route),
    /// To what clients of OpenBao know: the names from `sys` or `auth` on.
    OpenBao(Vec<String>),
}

/// Where a path below `/v1/` leads, and which namespace it names.
pub(super) fn target(path: &str) -> Result<(NamespacePath, Target), Status> {
    let unknown = || routes::unknown(path);
    let below = path.strip_prefix(super::PREFIX).ok_or_else(unknown)?;
    let names: Vec<&str> = below.split('/').collect();
    if names.len() > NAMES_MAX {
        return Err(unknown());
    }
    let namespace = |names: &[&str]| -> Result<NamespacePath, Status> {
        if names.is_empty() {
            return Ok(NamespacePath::root());
        }
        let path: NamespacePath = decoded_names(names)?.join("/").parse().map_err(Refusal::from)?;
        // What is named is never another one, such as a token's home.
        if path.is_root() { Err(unknown()) } else { Ok(path) }
    };
    if let Some(at) = names.iter().position(|name| OF_OPENBAO.contains(name)) {
        let (before, mut rest) = names.split_at(at);
        // `sys/namespaces/` is `sys/namespaces`.
        if let Some(("", shorter)) = rest.split_last().map(|(last, shorter)| (*last, shorter)) {
            rest = shorter;
        }
        return Ok((namespace(before)?, Target::OpenBao(decoded_names(rest)?)));
    }
    for at in 0..names.len() {
        if let Some(route) = routes::find(&names[at..].join("/")) {
            return Ok((namespace(&names[..at])?, Target::Contract(route)));
        }
    }
    Err(unknown())
}

fn decoded_names(names: &[&str]) -> Result<Vec<String>, Status> {
    let decoded_name = |name: &&str| match decoded(name)? {
        name if name.contains('/') => {
            Err(Status::invalid_argument("the path has an encoded `/`; write it as it is"))
        }
        name => Ok(name),
    };
    names.iter().map(decoded_name).collect()
}

/// A part of an address, with each `%41` taken for what it is.
pub(super) fn decoded(part: &str) -> Result<String, Status> {
    let none =
        || Status::invalid_argument("the address has a `%` that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(none)?, digit().ok_or_else(none)?);
        bytes.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(bytes).map_err(|_| Status::invalid_argument("the address is not UTF-8"))
}

/// Makes of the headers of a request what a gRPC call has: one token, one namespace.
pub(super) fn settle(headers: &mut HeaderMap, prefix: &NamespacePath) -> Result<(), Status> {
    settle_token(headers)?;
    if prefix.is_root() {
        // Whoever lets the call in understands both headers.
        return Ok(());
    }
    let (ours, theirs) = (headers.get(NAMESPACE), headers.get(VAULT_NAMESPACE));
    let base = match (ours, theirs) {
        (None, None) => None,
        (Some(ours), None) => Some(path_of(ours, false)?),
        (None, Some(theirs)) => Some(path_of(theirs, true)?),
        (Some(ours), Some(theirs)) => {
            let (ours, theirs) = (path_of(ours, false)?, path_of(theirs, true)?);
            if ours != theirs {
                // It is refused where the call is let in.
                return Ok(());
            }
            Some(ours)
        }
    };
    let named = base.unwrap_or_default().join(prefix).map_err(Refusal::from)?;
    let value = HeaderValue::from_str(named.as_str());
    headers.remove(VAULT_NAMESPACE);
    headers.insert(NAMESPACE, value.map_err(|_| Status::internal("a path is no header"))?);
    Ok(())
}

/// A namespace that a header names.
fn path_of(header: &HeaderValue, is_vaults: bool) -> Result<NamespacePath, Status> {
    let text = header.to_str().unwrap_or("\u{0}");
    let text = if is_vaults { text.trim_matches('/') } else { text };
    Ok(text.parse::<NamespacePath>().map_err(Refusal::from)?)
}

fn settle_token(headers: &mut HeaderMap) -> Result<(), Status> {
    let Some(token) = headers.remove(VAULT_TOKEN).filter(|token| !token.is_empty()) else { return Ok(()) };
    let bearer = HeaderValue::from_bytes(&[b"Bearer ", token.as_bytes()].concat());
    let mut bearer = bearer.map_err(|_| Status::internal("a token is no header"))?;
    bearer.set_sensitive(true);
    if headers.get(AUTHORIZATION).is_some_and(|given| *given != bearer) {
        let text = "`authorization` and `x-vault-token` have different tokens: leave one out";
        return Err(Status::invalid_argument(text));
    }
    headers.insert(AUTHORIZATION, bearer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn led(path: &str) -> Result<(String, String), String> {
        let (namespace, target) = target(path).map_err(|status| status.message().to_owned())?;
        let target = match target {
            Target::Contract(route) => route.call,
            Target::OpenBao(names) => names.join("|"),
        };
        Ok((namespace.to_string(), target))
    }

    #[test]
    fn a_path_leads_to_one_call_about_one_namespace() {
        const CHECK: &str = "authzed.api.v1.PermissionsService/CheckPermission";
        for (path, namespace, target) in [
            ("/v1/permissions/check", "root", CHECK),
            ("/v1/team_a/permissions/check", "team_a", CHECK),
            ("/v1/permissions/permissions/check", "permissions", CHECK),
            ("/v1/a/b/c/watch", "a/b/c", "authzed.api.v1.WatchService/Watch"),
            ("/v1/sys/namespaces", "root", "sys|namespaces"),
            ("/v1/sys/namespaces/", "root", "sys|namespaces"),
            // No call of the contract is meant by what comes behind `sys`.
            ("/v1/sys/namespaces/watch", "root", "sys|namespaces|watch"),
            ("/v1/a/b/sys/namespaces/c/d/", "a/b", "sys|namespaces|c|d"),
            ("/v1/a%40b/auth/token/lookup-self", "a@b", "auth|token|lookup-self"),
            ("/v1/sys/namespaces/100%25", "root", "sys|namespaces|100%"),
        ] {
            assert_eq!(led(path), Ok((namespace.to_owned(), target.to_owned())), "{path}");
        }
        for path in [
            "/v1/permissions/chek",
            "/v1/",
            "/v1//permissions/check",
            "/v1/a//sys/namespaces",
            "/v1/root/permissions/check",
            "/v1/root/sys/namespaces",
            "/v1/root/a/permissions/check",
            "/v1/a%2Fb/permissions/check",
            "/v1/sys/namespaces/a%2fb",
            "/v1/%2e%2e/permissions/check",
            "/v1/a%/sys/namespaces",
            "/v1/a%4/sys/namespaces",
            "/v1/a%zz/sys/namespaces",
            "/v1/a%ff/sys/namespaces",
            &format!("/v1/{}watch", "a/".repeat(1_000)),
        ] {
            assert!(led(path).is_err(), "{path}: {:?}", led(path));
        }
    }

    #[test]
    fn a_namespace_of_a_path_is_below_that_of_a_header() {
        let settled = |given: &[(HeaderName, &str)], prefix: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(name, value.parse().unwrap());
            }
            settle(&mut headers, &prefix.parse().unwrap()).map_err(|status| status.message().to_owned())?;
            let told = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            Ok::<_, String>((told(NAMESPACE), told(VAULT_NAMESPACE)))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(settled(&[], ""), Ok((None, None)));
        assert_eq!(settled(&[], "a/b"), Ok((some("a/b"), None)));
        assert_eq!(settled(&[(NAMESPACE, "x")], "a"), Ok((some("x/a"), None)));
        assert_eq!(settled(&[(VAULT_NAMESPACE, "/x/")], "a"), Ok((some("x/a"), None)));
        assert_eq!(settled(&[(VAULT_NAMESPACE, "x/")], ""), Ok((None, some("x/"))));
        assert_eq!(settled(&[(VAULT_NAMESPACE, "x"), (NAMESPACE, "x")], "a"), Ok((some("x/a"), None)));
        assert_eq!(settled(&[(NAMESPACE, "root")], "a"), Ok((some("a"), None)));
        // Refused when the call is let in.
        assert_eq!(settled(&[(VAULT_NAMESPACE, "y"), (NAMESPACE, "x")], "a"), Ok((some("x"), some("y"))));
        assert!(settled(&[(NAMESPACE, "x y")], "a").is_err());
    }

    #[test]
    fn a_token_has_one_text() {
        let settled = |given: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(name, value.parse().unwrap());
            }
            settle(&mut headers, &NamespacePath::root()).map_err(|_| ())?;
            assert!(!headers.contains_key(VAULT_TOKEN));
            Ok::<_, ()>(headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()))
        };
        let bearer = Ok(Some("Bearer t".to_owned()));
        assert_eq!(settled(&[(VAULT_TOKEN, "t")]), bearer);
        assert_eq!(settled(&[(AUTHORIZATION, "Bearer t")]), bearer);
        assert_eq!(settled(&[(AUTHORIZATION, "Bearer t"), (VAULT_TOKEN, "t")]), bearer);
        assert_eq!(settled(&[(AUTHORIZATION, "Bearer t"), (VAULT_TOKEN, "")]), bearer);
        assert_eq!(settled(&[(AUTHORIZATION, "Bearer t"), (VAULT_TOKEN, "u")]), Err(()));
        assert_eq!(settled(&[]), Ok(None));
    }
}
