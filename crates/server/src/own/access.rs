//! `AccessService`: tokens, and what was granted to whom.

use std::sync::Arc;

use idhini_model::{SubjectRef, validate_name};
use idhini_replica::control::{
    Accessor, ControlChange, ControlError, Grant, LIFETIME_SECONDS_MAX, LockMode, NamespaceId, NamespacePath,
    Right, Rights, Role, Token, View,
};
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::access_service_server::AccessService;
use idhini_wire::timestamp_message;
use prost::Message as _;
use prost_types::Duration;
use tonic::{Request, Response, async_trait};

use super::control::{Asking, Control};
use super::{Answer, pages, secrets};
use crate::audit;
use crate::options::STREAMED_BYTES_MAX;
use crate::refusal::{Own, Refusal};

/// Grants that are laid out to be listed in pages; more than a namespace has.
const GRANTS_MAX: usize = 1_000_000;
/// Longest name of somebody, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// `AccessService` over the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Access(pub(crate) Arc<Control>);

#[async_trait]
impl AccessService for Access {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let asking = Asking::of(&request)?;
        let v1::CreateTokenRequest { home, description, optional_lifetime, roles } = request.into_inner();
        let home = asking.path(&home)?;
        let lifetime_seconds = optional_lifetime.map(|lifetime| lasting(lifetime, 1)).transpose()?;
        let roles = roles.iter().map(|name| role(name)).collect::<Result<_, _>>()?;
        let accessor = Accessor(secrets::name(&self.0.randomness)?);
        let (token, secret) = secrets::token(&self.0.randomness)?;
        audit::noting(|recording| recording.note_secret("token", &token));
        let made = accessor.clone();
        let change =
            ControlChange::CreateToken { accessor, secret, home, description, lifetime_seconds, roles };
        self.0.change(&asking, change).await?;
        Ok(Response::new(v1::CreateTokenResponse {
            token,
            created: Some(Control::behind_change(self.token(&made))?),
        }))
    }

    async fn read_token(&self, request: Request<v1::ReadTokenRequest>) -> Answer<v1::ReadTokenResponse> {
        let asking = Asking::of(&request)?;
        let accessor = request.into_inner().accessor;
        let token = match accessor_of(asking.caller()) {
            None if accessor.is_empty() => self.of_configuration(asking.caller())?,
            own => {
                let accessor = own.filter(|_| accessor.is_empty()).unwrap_or(Accessor(accessor));
                self.expect_readable(&asking, &accessor)?;
                self.token(&accessor)?
            }
        };
        Ok(Response::new(v1::ReadTokenResponse { token: Some(token) }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let asking = Asking::of(&request)?;
        let v1::ListTokensRequest { path, page_size, after_accessor } = request.into_inner();
        let path = asking.path(&path)?;
        let rows_max = pages::size(page_size, self.0.page_rows_max)?;
        let seen = self.0.read(&asking, &path, Right::Administer)?;
        let after = Accessor(after_accessor);
        let page = self.0.plane.look(|view| self.page(view, &seen.id, &after, rows_max));
        Ok(Response::new(page.map_err(Refusal::from)?))
    }

    async fn renew_token(&self, request: Request<v1::RenewTokenRequest>) -> Answer<v1::RenewTokenResponse> {
        let asking = Asking::of(&request)?;
        let accessor = own_or(&asking, request.into_inner().accessor)?;
        self.0.change(&asking, ControlChange::RenewToken { accessor: accessor.clone() }).await?;
        Ok(Response::new(v1::RenewTokenResponse {
            token: Some(Control::behind_change(self.token(&accessor))?),
        }))
    }

    async fn rotate_token(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Answer<v1::RotateTokenResponse> {
        let asking = Asking::of(&request)?;
        let v1::RotateTokenRequest { accessor, optional_overlap } = request.into_inner();
        let accessor = own_or(&asking, accessor)?;
        let overlap_seconds = optional_overlap.map_or(Ok(0), |overlap| lasting(overlap, 0))?;
        let (token, secret) = secrets::token(&self.0.randomness)?;
        audit::noting(|recording| recording.note_secret("token", &token));
        let rotate = ControlChange::RotateToken { accessor: accessor.clone(), secret, overlap_seconds };
        self.0.change(&asking, rotate).await?;
        Ok(Response::new(v1::RotateTokenResponse {
            token,
            rotated: Some(Control::behind_change(self.token(&accessor))?),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let asking = Asking::of(&request)?;
        let accessor = own_or(&asking, request.into_inner().accessor)?;
        self.0.change(&asking, ControlChange::RevokeToken { accessor }).await?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn grant(&self, request: Request<v1::GrantRequest>) -> Answer<v1::GrantResponse> {
        let asking = Asking::of(&request)?;
        let v1::GrantRequest { path, role: name, subject } = request.into_inner();
        let (path, role, to) = (asking.path(&path)?, role(&name)?, member(&subject)?);
        self.0.change(&asking, ControlChange::Grant { path, role, to }).await?;
        Ok(Response::new(v1::GrantResponse {}))
    }

    async fn revoke(&self, request: Request<v1::RevokeRequest>) -> Answer<v1::RevokeResponse> {
        let asking = Asking::of(&request)?;
        let v1::RevokeRequest { path, role: name, subject } = request.into_inner();
        let (path, role, from) = (asking.path(&path)?, role(&name)?, member(&subject)?);
        self.0.change(&asking, ControlChange::Revoke { path, role, from }).await?;
        Ok(Response::new(v1::RevokeResponse {}))
    }

    async fn list_grants(&self, request: Request<v1::ListGrantsRequest>) -> Answer<v1::ListGrantsResponse> {
        let asking = Asking::of(&request)?;
        let v1::ListGrantsRequest { path, page_size, after } = request.into_inner();
        let path = asking.path(&path)?;
        let rows_max = pages::size(page_size, self.0.page_rows_max)?;
        let after = after.map(|after| Ok::<_, Refusal>((role(&after.role)?, after.subject))).transpose()?;
        let seen = self.0.read(&asking, &path, Right::Administer)?;
        let mut all: Vec<(Role, String)> = self
            .0
            .plane
            .grants(&path, &seen.id, GRANTS_MAX)
            .into_iter()
            .map(|Grant { role, to, .. }| (role, to.to_string()))
            .filter(|grant| after.as_ref().is_none_or(|after| grant > after))
            .collect();
        all.sort_unstable();
        let is_more = all.len() > rows_max;
        all.truncate(rows_max);
        let told = |(role, subject): (Role, String)| granted(&path, role, subject);
        let grants: Vec<v1::GrantedRole> = all.into_iter().map(told).collect();
        let next = grants.last().filter(|_| is_more).cloned();
        Ok(Response::new(v1::ListGrantsResponse { grants, next }))
    }

    async fn can_i(&self, request: Request<v1::CanIRequest>) -> Answer<v1::CanIResponse> {
        let asking = Asking::of(&request)?;
        let v1::CanIRequest { path, right: name, subject } = request.into_inner();
        let path = asking.path(&path)?;
        let asked = if name.is_empty() { Right::ALL.to_vec() } else { vec![right(&name)?] };
        let who = if subject.is_empty() { asking.caller().clone() } else { member(&subject)? };
        let rights = self.judged(&asking, &who, &path)?;
        let had: Vec<Right> = asked.into_iter().filter(|right| rights.has(*right)).collect();
        let because = self.0.plane.because(&who, &path, &had).map_err(Refusal::from)?;
        Ok(Response::new(v1::CanIResponse {
            rights: had.into_iter().map(|right| right.as_str().to_owned()).collect(),
            because: because
                .into_iter()
                .map(|Grant { path, role, to }| granted(&path, role, to.to_string()))
                .collect(),
        }))
    }
}

impl Access {
    /// A token as it is now.
    fn token(&self, accessor: &Accessor) -> Result<v1::Token, Refusal> {
        let (plane, now) = (&self.0.plane, self.0.plane.now());
        let told = plane.look(|view| {
            let token = view.token(accessor, now)?;
            Some(told(view, accessor, token))
        })?;
        let used = plane.used_at(accessor).map(timestamp_message);
        let token = told.map(|token| v1::Token { last_used_at: used, ..token });
        token.ok_or_else(|| ControlError::NoToken.into())
    }

    /// What there is to say of a key or the root token, which are no tokens of the control plane.
    fn of_configuration(&self, caller: &SubjectRef) -> Result<v1::Token, Refusal> {
        let root = NamespaceId::root();
        let made = self.0.plane.look(|view| view.namespace(&root).map(|record| record.created_at))?;
        Ok(v1::Token {
            home: NamespacePath::root().to_string(),
            description: caller.to_string(),
            created_at: made.map(timestamp_message),
            created_by: "server".to_owned(),
            ..v1::Token::default()
        })
    }

    /// Lets those read of a token who may change it: itself, and the administrators of its home.
    fn expect_readable(&self, asking: &Asking, accessor: &Accessor) -> Result<(), Refusal> {
        let (plane, now) = (&self.0.plane, self.0.plane.now());
        let home = plane.look(|view| view.token(accessor, now).map(|token| token.record.home.clone()))?;
        let is_itself = accessor_of(asking.caller()).as_ref() == Some(accessor);
        // Who may not hears the same whether or not there is one.
        let judged = home.clone().unwrap_or_else(NamespaceId::root);
        let may = || Ok::<_, Refusal>(plane.rights(asking.caller(), &judged)?.has(Right::Administer));
        if !is_itself && !may()? {
            return Err(Refusal::not_permitted());
        }
        let home = home.ok_or(ControlError::NoToken)?;
        let lock = plane.look(|view| view.lock(&view.namespace(&home)?.path, now))?;
        match lock.filter(|lock| lock.lock.record.mode == LockMode::All) {
            Some(lock) => Err(Refusal::namespace_locked(&lock)),
            None => Ok(()),
        }
    }

    fn page(
        &self,
        view: &View,
        home: &NamespaceId,
        after: &Accessor,
        rows_max: usize,
    ) -> v1::ListTokensResponse {
        let mut found = view.tokens_of(home, after, self.0.plane.now()).peekable();
        let (mut tokens, mut bytes) = (Vec::new(), 0);
        while tokens.len() < rows_max
            && bytes < STREAMED_BYTES_MAX
            && let Some((accessor, token)) = found.next()
        {
            let used = self.0.plane.noted(accessor).or_else(|| view.used_at(accessor));
            let next = v1::Token { last_used_at: used.map(timestamp_message), ..told(view, accessor, token) };
            bytes += next.encoded_len();
            tokens.push(next);
        }
        let last: Option<&v1::Token> = tokens.last().filter(|_| found.peek().is_some());
        let next_accessor = last.map(|last| last.accessor.clone()).unwrap_or_default();
        v1::ListTokensResponse { tokens, next_accessor }
    }

    /// What somebody may do at a path. Of themselves all hear that; of others, administrators.
    fn judged(&self, asking: &Asking, who: &SubjectRef, path: &NamespacePath) -> Result<Rights, Refusal> {
        let (own, found) = self.0.rights(asking.caller(), path)?;
        if !own.has(Right::Belong) {
            // As of a namespace that is not there.
            return if who == asking.caller() { Ok(own) } else { Err(Refusal::not_permitted()) };
        }
        let now = self.0.plane.now();
        let lock = self.0.plane.look(|view| view.lock(path, now))?;
        if let Some(lock) = lock.filter(|lock| lock.lock.record.mode == LockMode::All) {
            return Err(Refusal::namespace_locked(&lock));
        }
        if who != asking.caller() && !own.has(Right::Administer) {
            return Err(Refusal::not_permitted());
        }
        let (id, _) = found.ok_or_else(|| Refusal::no_namespace(path))?;
        if who == asking.caller() { Ok(own) } else { Ok(self.0.plane.rights(who, &id)?) }
    }
}

/// What is recorded of a token.
fn told(view: &View, accessor: &Accessor, token: &Token) -> v1::Token {
    let record = &token.record;
    let home = view.namespace(&record.home).map(|home| home.path.to_string());
    v1::Token {
        accessor: accessor.0.clone(),
        home: home.unwrap_or_default(),
        description: record.description.clone(),
        created_at: Some(timestamp_message(record.created_at)),
        created_by: record.created_by.clone(),
        expires_at: token.expires_at.map(timestamp_message),
        lifetime: record
            .lifetime_seconds
            .map(|seconds| Duration { seconds: seconds.min(LIFETIME_SECONDS_MAX).cast_signed(), nanos: 0 }),
        last_used_at: None,
    }
}

fn granted(path: &NamespacePath, role: Role, subject: String) -> v1::GrantedRole {
    v1::GrantedRole { path: path.to_string(), role: role.as_str().to_owned(), subject }
}

/// The accessor of a caller who came with a token of the control plane.
fn accessor_of(caller: &SubjectRef) -> Option<Accessor> {
    (caller.object_type == "token").then(|| Accessor(caller.object_id.clone()))
}

/// The token that is named, or the caller's own.
fn own_or(asking: &Asking, accessor: String) -> Result<Accessor, Refusal> {
    if !accessor.is_empty() {
        return Ok(Accessor(accessor));
    }
    accessor_of(asking.caller()).ok_or_else(|| {
        let text = "whoever calls has no token of the control plane: keys of the configuration and the root token are changed where the server runs; name another token's accessor";
        Refusal::invalid(text).because(Own::TokenNotFound)
    })
}

fn lasting(duration: Duration, seconds_min: u64) -> Result<u64, Refusal> {
    // A part of a second counts as one.
    let seconds = u64::try_from(duration.seconds).ok().map(|whole| whole + u64::from(duration.nanos > 0));
    let fits = |seconds: &u64| (seconds_min..=LIFETIME_SECONDS_MAX).contains(seconds);
    seconds.filter(|_| duration.nanos >= 0).filter(fits).ok_or_else(|| {
        let text =
            format!("a lifetime or an overlap has {seconds_min} to {LIFETIME_SECONDS_MAX} seconds; leave it out for none");
        Refusal::invalid(text).because(Own::TokenLifetimeInvalid)
    })
}

fn role(name: &str) -> Result<Role, Refusal> {
    Role::of(name).ok_or_else(|| {
        let all: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        Refusal::invalid(format!("there is no such role; the roles are {}", all.join(", ")))
            .because(Own::RoleUnknown)
    })
}

fn right(name: &str) -> Result<Right, Refusal> {
    Right::of(name).ok_or_else(|| {
        let all: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
        Refusal::invalid(format!("there is no such right; the rights are {}", all.join(", ")))
            .because(Own::RightUnknown)
    })
}

/// Somebody, as `type:name`: names of certificates and of people have characters that object ids do not have.
fn member(text: &str) -> Result<SubjectRef, Refusal> {
    let fits = |name: &str| {
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && name != "*"
            && name.bytes().all(|b| b.is_ascii_graphic())
    };
    let split = text.split_once(':').filter(|(kind, name)| validate_name(kind).is_ok() && fits(name));
    let (kind, name) = split.ok_or_else(|| {
        let text = "name somebody as `token:ACCESSOR`, `certificate:NAME` or `external:ID`";
        Refusal::invalid(text).because(Own::SubjectInvalid)
    })?;
    Ok(SubjectRef::object(kind, name))
}
