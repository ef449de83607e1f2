//! Tokens, at `/v1/auth/token/…`.
//!
//! # Invariants
//! * What is done to another's token is done by its accessor, in the name of whoever asks. Who has only its text learns the
//!   accessor by it, as whoever has it might.
//! * A token's text is in the answer that made it, and in no other.

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use idhini_wire::idhini::v1;
use serde_json::{Value, json};
use tonic::Status;

use super::super::ask::fields;
use super::answer::{Answer, No};
use super::body::{Fields, expect_none};
use super::{Of, Verb, text_of};
use crate::admission::NAMESPACE;

const CREATE: &str = "/idhini.v1.AccessService/CreateToken";
const READ: &str = "/idhini.v1.AccessService/ReadToken";
const LIST: &str = "/idhini.v1.AccessService/ListTokens";
const RENEW: &str = "/idhini.v1.AccessService/RenewToken";
const REVOKE: &str = "/idhini.v1.AccessService/RevokeToken";
const CAN_I: &str = "/idhini.v1.AccessService/CanI";

/// Accessors of one answer.
const LISTED_MAX: usize = 100_000;

/// Whose token?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    /// That of the text that the body has.
    Text,
    /// That of the accessor that the body has.
    Accessor,
}

pub(super) async fn answer(of: &mut Of<'_>) -> Result<Answer, No> {
    let names: Vec<&str> = of.names.iter().map(String::as_str).collect();
    match names.as_slice() {
        ["token", "create" | "create-orphan"] => create(of).await,
        ["token", "lookup-self"] => look_up(of, Whose::Own).await,
        ["token", "lookup"] => look_up(of, Whose::Text).await,
        ["token", "lookup-accessor"] => look_up(of, Whose::Accessor).await,
        ["token", "renew-self"] => renew(of, Whose::Own).await,
        ["token", "renew"] => renew(of, Whose::Text).await,
        ["token", "renew-accessor"] => renew(of, Whose::Accessor).await,
        ["token", "revoke-self"] => revoke(of, Whose::Own).await,
        ["token", "revoke"] => revoke(of, Whose::Text).await,
        ["token", "revoke-accessor"] => revoke(of, Whose::Accessor).await,
        ["token", "accessors"] => accessors(of).await,
        _ => Err(No::no_path("auth", &of.names)),
    }
}

/// What there is no such thing as here is refused: a token that was to be good for less is not made good for more.
async fn create(of: &mut Of<'_>) -> Result<Answer, No> {
    of.expect(Verb::Write, "POST")?;
    let body = of.body();
    let create = |given| {
        let mut given = Fields::new(given);
        let (ttl, period) = (given.span("ttl")?, given.span("period")?);
        if ttl.is_some() && period.is_some() && ttl != period {
            return Err(Status::invalid_argument("`ttl` and `period` are the same here; leave one out"));
        }
        let lasting = ttl.or(period);
        expect_none(!given.text("id")?.is_empty(), "id", "the text of a token is drawn at random")?;
        expect_none(given.number("num_uses")? > 0, "num_uses", "uses are not counted")?;
        expect_none(given.span("explicit_max_ttl")?.is_some(), "explicit_max_ttl", "a token can be renewed")?;
        expect_none(
            !given.switch("renewable", true)?,
            "renewable",
            "every token with a lifetime can be renewed",
        )?;
        expect_none(!given.text("entity_alias")?.is_empty(), "entity_alias", "there are no entities")?;
        expect_none(!given.text("role_name")?.is_empty(), "role_name", "there are no token roles")?;
        let kind = given.text("type")?;
        expect_none(
            !matches!(kind.as_str(), "" | "default" | "service"),
            "type",
            "every token is a service token",
        )?;
        let meta = given.take("meta").and_then(|meta| meta.as_object().map(|meta| !meta.is_empty()));
        expect_none(meta == Some(true), "meta", "a token has a description, which is `display_name`")?;
        // No token hangs by another, and none has a policy by itself.
        given.switch("no_parent", true)?;
        given.switch("no_default_policy", true)?;
        let (description, roles) = (given.text("display_name")?, given.texts("policies")?);
        given.expect_no_more()?;
        let optional_lifetime = lasting.map(|seconds| prost_types::Duration {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanos: 0,
        });
        Ok(v1::CreateTokenRequest { home: String::new(), description, optional_lifetime, roles })
    };
    let made: v1::CreateTokenResponse = of.asking.ask_of(CREATE, body, create).await?;
    let token = made.created.unwrap_or_default();
    // The token is made: whatever else fails, its text is told.
    let policies = policies(of, &token).await;
    let is_powerless = policies.as_ref().is_ok_and(Vec::is_empty);
    let answer = Answer::auth(auth(&token, &made.token, &policies.unwrap_or_default(), of));
    Ok(match is_powerless {
        true => {
            answer.warning("the token has no role and may nothing; name some in `policies`, or grant them")
        }
        false => answer,
    })
}

async fn look_up(of: &mut Of<'_>, whose: Whose) -> Result<Answer, No> {
    if !matches!(of.verb, Verb::Read | Verb::Write) || (of.verb == Verb::Read && whose != Whose::Own) {
        of.expect(Verb::Write, if whose == Whose::Own { "GET or POST" } else { "POST" })?;
    }
    let (token, _) = accessed(of, whose).await?;
    let policies = policies(of, &token).await?;
    let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds);
    let lifetime = token.lifetime.map_or(0, |lifetime| lifetime.seconds);
    Ok(Answer::data(json!({
        "accessor": token.accessor,
        "creation_time": seconds(token.created_at).unwrap_or_default(),
        "creation_ttl": lifetime,
        "display_name": token.description,
        "entity_id": "",
        "expire_time": text_of(token.expires_at),
        "explicit_max_ttl": 0,
        // A text is told once.
        "id": "",
        "issue_time": text_of(token.created_at),
        "last_use_time": text_of(token.last_used_at),
        "meta": Value::Null,
        "namespace_path": path_of(&token),
        "num_uses": 0,
        "orphan": true,
        "path": "auth/token/create",
        "policies": policies,
        "renewable": token.lifetime.is_some(),
        "ttl": left(&token, of),
        "type": "service",
    })))
}

async fn renew(of: &mut Of<'_>, whose: Whose) -> Result<Answer, No> {
    of.expect(Verb::Write, "POST")?;
    let (token, mut rest) = accessed(of, whose).await?;
    // OpenBao may ignore it as well; a token lasts as long as it was made for.
    rest.span("increment")?;
    rest.expect_no_more()?;
    if token.accessor.is_empty() {
        return Err(not_ours());
    }
    let request = v1::RenewTokenRequest { accessor: token.accessor };
    let renewed: v1::RenewTokenResponse = of.asking.ask(RENEW, &request).await?;
    let token = renewed.token.unwrap_or_default();
    let policies = policies(of, &token).await?;
    Ok(Answer::auth(auth(&token, "", &policies, of)))
}

async fn revoke(of: &mut Of<'_>, whose: Whose) -> Result<Answer, No> {
    of.expect(Verb::Write, "POST")?;
    let (token, rest) = accessed(of, whose).await?;
    rest.expect_no_more()?;
    if token.accessor.is_empty() {
        return Err(not_ours());
    }
    let request = v1::RevokeTokenRequest { accessor: token.accessor };
    let _: v1::RevokeTokenResponse = of.asking.ask(REVOKE, &request).await?;
    Ok(Answer::done())
}

async fn accessors(of: &mut Of<'_>) -> Result<Answer, No> {
    of.expect(Verb::List, "LIST, or GET and ?list=true")?;
    let asked = of.query.limit.unwrap_or(LISTED_MAX);
    let wanted = asked.min(LISTED_MAX);
    let (mut keys, mut after_accessor) = (Vec::new(), of.query.after.clone());
    loop {
        let request = v1::ListTokensRequest { path: String::new(), page_size: 0, after_accessor };
        let page: v1::ListTokensResponse = of.asking.ask(LIST, &request).await?;
        let room = wanted - keys.len().min(wanted);
        keys.extend(page.tokens.into_iter().take(room).map(|token| Value::from(token.accessor)));
        after_accessor = page.next_accessor;
        if after_accessor.is_empty() || keys.len() >= wanted {
            break;
        }
    }
    if keys.is_empty() {
        return Err(No::Nothing);
    }
    let is_short = !after_accessor.is_empty() && (of.query.limit.is_none() || keys.len() < asked);
    let answer = Answer::data(json!({ "keys": keys }));
    Ok(match is_short {
        true => answer.warning(
            "there are more than are answered at once: go on with ?after=KEY behind the last of these",
        ),
        false => answer,
    })
}

/// The token that a request is about, for whoever may read of it; and what else its body says.
async fn accessed(of: &mut Of<'_>, whose: Whose) -> Result<(v1::Token, Fields), No> {
    // Whoever asks is let in before anything else is read.
    let own = read(of, String::new()).await?;
    let mut rest = Fields::new(fields(of.body()).await?);
    let accessor = match whose {
        Whose::Own => return Ok((own, rest)),
        Whose::Accessor => rest.text("accessor")?,
        Whose::Text => {
            let text = rest.text("token")?;
            if text.is_empty() { String::new() } else { accessor_of(of, &text).await? }
        }
    };
    if accessor.is_empty() {
        return Err(No::malformed(match whose {
            Whose::Text => "`token` is missing, or is a key of the server's configuration",
            _ => "`accessor` is missing",
        }));
    }
    Ok((read(of, accessor).await?, rest))
}

async fn read(of: &mut Of<'_>, accessor: String) -> Result<v1::Token, No> {
    let found: v1::ReadTokenResponse = of.asking.ask(READ, &v1::ReadTokenRequest { accessor }).await?;
    Ok(found.token.unwrap_or_default())
}

/// What a token is known by, asked with itself.
async fn accessor_of(of: &mut Of<'_>, text: &str) -> Result<String, No> {
    let bearer = HeaderValue::from_str(&format!("Bearer {text}"));
    let mut bearer = bearer.map_err(|_| No::malformed("`token` has characters that no token has"))?;
    bearer.set_sensitive(true);
    let headers = of.asking.headers.clone();
    of.asking.headers.insert(AUTHORIZATION, bearer);
    // About its own home, wherever the caller's is.
    of.asking.headers.remove(NAMESPACE);
    of.asking.headers.remove(crate::admission::VAULT_NAMESPACE);
    let found = read(of, String::new()).await;
    of.asking.headers = headers;
    Ok(found?.accessor)
}

/// The roles that a token plays in its home, granted there or above.
async fn policies(of: &mut Of<'_>, token: &v1::Token) -> Result<Vec<String>, No> {
    if token.accessor.is_empty() {
        return Ok(vec!["admin".to_owned()]);
    }
    let headers = of.asking.headers.clone();
    of.asking.headers.remove(crate::admission::VAULT_NAMESPACE);
    let home = HeaderValue::from_str(&token.home).map_err(|_| Status::internal("a path is no header"))?;
    of.asking.headers.insert(NAMESPACE, home);
    let subject = format!("token:{}", token.accessor);
    let request = v1::CanIRequest { path: String::new(), right: String::new(), subject };
    let found: Result<v1::CanIResponse, Status> = of.asking.ask(CAN_I, &request).await;
    of.asking.headers = headers;
    let mut roles: Vec<String> = found?.because.into_iter().map(|grant| grant.role).collect();
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// What is said of a token that was made or renewed.
fn auth(token: &v1::Token, text: &str, policies: &[String], of: &Of<'_>) -> Value {
    json!({
        "client_token": text,
        "accessor": token.accessor,
        "policies": policies,
        "token_policies": policies,
        "metadata": Value::Null,
        "lease_duration": left(token, of),
        "renewable": token.lifetime.is_some(),
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
        "num_uses": 0,
    })
}

/// Seconds that it still lasts; 0 for one that does not end by itself.
fn left(token: &v1::Token, of: &Of<'_>) -> i64 {
    token.expires_at.map_or(0, |at| at.seconds.saturating_sub(of.now.seconds()).max(0))
}

fn path_of(token: &v1::Token) -> String {
    if token.home == "root" { String::new() } else { format!("{}/", token.home) }
}

fn not_ours() -> No {
    let text = "this is a key of the server's configuration or its root token, which is changed where the server runs";
    No::Http(StatusCode::BAD_REQUEST, text.to_owned())
}
