//! Tokens, and who may do what to Idhini itself.

use idhini_wire::idhini::v1;

use super::told::{moment_or, named, span};
use super::{Asked, branch};
use crate::arguments::{AuthCommand, CanI, CreateToken, GrantArguments, RotateToken, TokenCommand};
use crate::client::Server;
use crate::failure::Failure;
use crate::output;

/// Somebody may not.
const STATUS_NO: u8 = 1;
const NO_TOKEN: Failure = Failure::Answer { missing: "token" };

pub(super) async fn tokens(asked: Asked<'_>, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(of) => create(asked, of).await,
        TokenCommand::List { path } => list(asked, named(path)).await,
        TokenCommand::Show { accessor } => show(asked, named(accessor)).await,
        TokenCommand::Renew { accessor } => renew(asked, named(accessor)).await,
        TokenCommand::Rotate(of) => rotate(asked, of).await,
        TokenCommand::Revoke { accessor, own: _ } => revoke(asked, named(accessor)).await,
        // The caller runs this itself: it needs no server.
        TokenCommand::Reset(_) => Ok(()),
    }
}

/// The token alone is on standard output.
async fn create(asked: Asked<'_>, of: CreateToken) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::CreateTokenRequest {
        home: named(of.home),
        description: of.description,
        optional_lifetime: of.lasting.map(span),
        roles: of.roles,
    };
    let answer = server.access().create_token(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let made = answer.created.ok_or(NO_TOKEN)?;
    once(&answer.token, &made, asked)
}

async fn list(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let mut after_accessor = String::new();
    loop {
        let request = v1::ListTokensRequest { path: path.clone(), page_size: 0, after_accessor };
        let page = server.access().list_tokens(server.request(request)).await?.into_inner();
        if asked.connection.json {
            output::message(&page)?;
        } else {
            for token in page.tokens {
                let used = moment_or(token.last_used_at, "never used");
                let ends = moment_or(token.expires_at, "until it is revoked");
                let text = format!("{used:<20}  {ends:<20}  {}", token.description);
                output::named(&token.accessor, text.trim_end(), asked.style);
            }
        }
        if page.next_accessor.is_empty() {
            return Ok(());
        }
        after_accessor = page.next_accessor;
    }
}

async fn show(asked: Asked<'_>, accessor: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::ReadTokenRequest { accessor };
    let answer = server.access().read_token(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    print(&answer.token.ok_or(NO_TOKEN)?, asked);
    Ok(())
}

async fn renew(asked: Asked<'_>, accessor: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::RenewTokenRequest { accessor };
    let answer = server.access().renew_token(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    print(&answer.token.ok_or(NO_TOKEN)?, asked);
    Ok(())
}

async fn rotate(asked: Asked<'_>, RotateToken { accessor, overlap }: RotateToken) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::RotateTokenRequest { accessor: named(accessor), optional_overlap: overlap.map(span) };
    let answer = server.access().rotate_token(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let rotated = answer.rotated.ok_or(NO_TOKEN)?;
    once(&answer.token, &rotated, asked)
}

async fn revoke(asked: Asked<'_>, accessor: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::RevokeTokenRequest { accessor: accessor.clone() };
    let answer = server.access().revoke_token(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let whose = if accessor.is_empty() { "your own token" } else { &accessor };
    output::line_of("revoked", whose, asked.style);
    Ok(())
}

/// Prints a secret, and beside it what it is known by.
fn once(secret: &str, token: &v1::Token, asked: Asked<'_>) -> Result<(), Failure> {
    output::line(secret);
    let text = format!(
        "the token is shown only now; its name is {}, its home {}, and it lasts {}",
        token.accessor,
        token.home,
        match token.expires_at {
            Some(_) => format!("until {}", moment_or(token.expires_at, "")),
            None => "until it is revoked".to_owned(),
        }
    );
    output::notice(&text, asked.style);
    Ok(())
}

fn print(token: &v1::Token, asked: Asked<'_>) {
    // Keys of the configuration have no names.
    let name = if token.accessor.is_empty() { "a key of the server" } else { &token.accessor };
    output::line_of("token", name, asked.style);
    output::part("home", &token.home, asked.style);
    if !token.description.is_empty() {
        output::part("description", &token.description, asked.style);
    }
    let made = format!("{} by {}", moment_or(token.created_at, "at no known time"), token.created_by);
    output::part("created", &made, asked.style);
    output::part("expires", &moment_or(token.expires_at, "when it is revoked"), asked.style);
    if let Some(lifetime) = token.lifetime {
        let seconds = u64::try_from(lifetime.seconds).unwrap_or_default();
        output::part("lifetime", &format!("{seconds} s from when it is renewed"), asked.style);
    }
    if !token.accessor.is_empty() {
        output::part("last used", &moment_or(token.last_used_at, "never"), asked.style);
    }
}

pub(super) async fn auth(asked: Asked<'_>, command: AuthCommand) -> Result<u8, Failure> {
    match command {
        AuthCommand::CanI(of) => return can_i(asked, of).await,
        AuthCommand::Grant(of) => grant(asked, of).await?,
        AuthCommand::Revoke(of) => take_back(asked, of).await?,
        AuthCommand::Grants { path } => grants(asked, named(path)).await?,
    }
    Ok(0)
}

async fn can_i(asked: Asked<'_>, of: CanI) -> Result<u8, Failure> {
    let server = Server::connect(asked.connection).await?;
    let (right, path) = (named(of.right), named(of.path));
    let request = v1::CanIRequest { path, right: right.clone(), subject: of.subject };
    let answer = server.access().can_i(server.request(request)).await?.into_inner();
    let status = if answer.rights.is_empty() { STATUS_NO } else { 0 };
    if asked.connection.json {
        return output::message(&answer).map(|()| status);
    }
    if answer.rights.is_empty() {
        let what = if right.is_empty() { "right at all" } else { &right };
        output::line_of("no", what, asked.style);
    }
    for right in &answer.rights {
        output::line_of("has", right, asked.style);
    }
    if of.explain {
        for (at, grant) in answer.because.iter().enumerate() {
            let (branch, _) = branch(at, answer.because.len());
            let text = format!("{branch}{} in {}, granted to {}", grant.role, grant.path, grant.subject);
            output::line_of("", &text, asked.style);
        }
        if answer.because.is_empty() {
            output::line_of("", "└─ nothing was granted that gives it", asked.style);
        }
    }
    Ok(status)
}

async fn grant(
    asked: Asked<'_>,
    GrantArguments { role, subject, path }: GrantArguments,
) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::GrantRequest { path: named(path), role: role.clone(), subject: subject.clone() };
    let answer = server.access().grant(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line_of("granted", &format!("{role} to {subject}"), asked.style);
    Ok(())
}

async fn take_back(
    asked: Asked<'_>,
    GrantArguments { role, subject, path }: GrantArguments,
) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::RevokeRequest { path: named(path), role: role.clone(), subject: subject.clone() };
    let answer = server.access().revoke(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line_of("revoked", &format!("{role} of {subject}"), asked.style);
    Ok(())
}

async fn grants(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let mut after = None;
    loop {
        let request = v1::ListGrantsRequest { path: path.clone(), page_size: 0, after };
        let page = server.access().list_grants(server.request(request)).await?.into_inner();
        if asked.connection.json {
            output::message(&page)?;
        } else {
            for grant in page.grants {
                output::part(&grant.role, &grant.subject, asked.style);
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        after = page.next;
    }
}
