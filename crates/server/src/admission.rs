//! Who is calling, about which namespace, and may they?
//!
//! A caller is known by a bearer token, or by the certificate that its connection was opened with. The namespace is the one
//! that the call's metadata names, else the token's home. What was found out is a *pass*, which a connection keeps: its next
//! call costs a look at one number, unless somebody changed the control plane in between.
//!
//! # Invariants
//! * Nothing is answered to whom nobody knows but health and reflection.
//! * A pass counts as long as the control plane stands as it did and nothing has expired that it rests on; then it is made
//!   anew. What is under way is ended when it is not given again (`standing.rs`).
//! * Who does not belong to a namespace hears the same whether or not there is one, and the same is looked at. Who belongs
//!   hears of the lock first, whatever they may.
//! * What a caller does for itself is charged where it belongs, whatever it names; and it names nothing that it may not see.
//! * A certificate that has ended is good for nothing, also on a connection that it opened. Where one is required, nothing else
//!   is good for anything without it.
//! * Comparing keys takes a time that does not depend on where they differ.
//!
//! Cost: three look-ups of headers and two comparisons for a call that has a pass; some ten microseconds without.

mod access;
mod standing;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use idhini_audit::{Actor, Trail};
use idhini_changelog::LogId;
use idhini_model::{SubjectRef, Timestamp};
use idhini_replica::Wanted;
use idhini_replica::control::{
    Accessor, ControlError, ControlPlane, EffectiveLock, LockMode, NamespaceId, NamespacePath, Right, Rights,
    UseMark, View,
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

pub(crate) use access::{Access, Kind};
pub(crate) use standing::{Cut, CutAnswers, Standing, revocable};

use crate::audit::{self, AUDIT_KEY, Caller, DECISIONS, Recording};
use crate::auth::{Keys, bearer_of, is_same};
use crate::deadline::Deadline;
use crate::lane::Tenancy;
use crate::quotas::{Counts, Limits, Line, Meters};
use crate::refusal::Refusal;
use crate::telemetry::{Call, Telemetry};
use crate::tenants::{Tenant, Tenants, WeakTenant};
use crate::tls::Peer;

/// Names the namespace that a call is about.
pub(crate) const NAMESPACE: HeaderName = HeaderName::from_static("x-idhini-namespace");
/// The same, as clients of OpenBao and Vault write it.
pub(crate) const VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// What callers are known as that came with a token of the control plane, or with a certificate.
const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate";
/// Passes that a connection keeps: one for each namespace and token that it is used for.
const PASSES_MAX: usize = 8;

/// Lets a worker's calls in.
pub(crate) struct Admission {
    gate: Option<Arc<Gate>>,
    /// By the rows of all calls.
    kinds: Vec<Option<Kind>>,
    tenants: Tenants,
}

/// What is asked for everybody who comes.
pub(crate) struct Gate {
    plane: Arc<ControlPlane>,
    keys: Keys,
    /// Of all workers.
    meters: Arc<Meters>,
    trail: Option<Trail>,
}

/// What a call was let in with; among its request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Admitted(pub(crate) Arc<Pass>);

/// What a caller brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    authorization: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    vault_namespace: Option<HeaderValue>,
    /// Of the connection's certificate.
    peer: Option<Arc<Peer>>,
    /// Whether nothing counts without it.
    needs_certificate: bool,
    /// Where the connection comes from.
    address: Option<Arc<str>>,
}

/// Who is charged for a call.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Whose work it is, among those that take turns.
    pub(crate) tenancy: Tenancy,
    /// The meters that it runs through; none if nothing is limited.
    pub(crate) line: Option<Arc<Line>>,
}

/// What is known of who calls.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Who calls: `token:ACCESSOR`, `preshared_key:…`, `root_token:…` or `certificate:…`.
    pub(crate) caller: SubjectRef,
    /// The namespace that the call is about: the one that its metadata names, else its token's home. Of a call that names
    /// paths of its own, such as those of `NamespaceService`, there may be none here.
    pub(crate) namespace: NamespacePath,
    /// What is at that path, or nearest above it.
    pub(crate) nearest: (NamespaceId, LogId),
    /// Whether there is a namespace at the path, and it is not about to go.
    is_there: bool,
    /// The same for the audit trail.
    path: Arc<str>,
    /// The caller, for the audit trail.
    actor: Arc<Actor>,
    /// Whether the namespace, or one above it, asks for every decision to be told.
    tells_decisions: bool,
    /// Everything that the caller may do there.
    pub(crate) rights: Rights,
    lock: Option<EffectiveLock>,
    /// Whether the namespace is named by somebody who does not belong there, and has no home there either.
    is_strange: bool,
    /// Charged for calls about the namespace,
    account: Account,
    /// and for what the caller does for itself, or is refused.
    own_account: Account,
    /// Notes that the caller's token is used.
    mark: Option<UseMark>,
    /// When something ends that it rests on.
    until: Option<Timestamp>,
    /// Of the control plane when it was made.
    version: u64,
    credentials: Credentials,
}

/// What a connection was opened with and let in with before. It is gone with the connection.
#[derive(Default)]
pub(crate) struct Accepted {
    /// Where it comes from.
    address: Option<Arc<str>>,
    from: Option<IpAddr>,
    peer: Option<Arc<Peer>>,
    needs_certificate: bool,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    pass: Arc<Pass>,
    tenant: WeakTenant,
}

/// Why a call was not let in, and whose it was, if that is known.
pub(crate) struct Denied {
    pub(crate) refusal: Refusal,
    pass: Option<Arc<Pass>>,
}

/// A call that was let in.
pub(crate) struct Entry {
    /// Without one, whoever brings a token has a store of its own.
    pub(crate) pass: Option<Arc<Pass>>,
    /// What it sees, if it is about one namespace.
    pub(crate) tenant: Option<Tenant>,
}

impl Admission {
    pub(crate) fn new(gate: Option<Arc<Gate>>, telemetry: &Telemetry, tenants: Tenants) -> Admission {
        Admission { gate, kinds: telemetry.rows().iter().map(Kind::of).collect(), tenants }
    }

    pub(crate) fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    /// What is known of the calls of this row.
    pub(crate) fn kind(&self, row: usize) -> Option<Kind> {
        self.kinds.get(row).copied().flatten()
    }

    /// Lets go of what is no longer needed.
    pub(crate) fn tidy(&self) {
        self.tenants.tidy();
        if let Some(gate) = &self.gate {
            gate.meters.tidy();
        }
    }

    /// Lets a call in by what its connection showed before, if that still counts.
    pub(crate) fn again(
        &self,
        accepted: &Accepted,
        headers: &HeaderMap,
        access: Access,
    ) -> Option<(Arc<Pass>, Tenant)> {
        let gate = self.gate.as_ref()?;
        let kept = accepted.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { pass, tenant } = kept.iter().find(|kept| kept.pass.credentials.are_of(headers))?;
        if !gate.holds(pass) || pass.judge(access).is_err() {
            return None;
        }
        let tenant = tenant.of_use()?;
        pass.is_used();
        Some((Arc::clone(pass), tenant))
    }

    /// Lets a call in, or says why not.
    pub(crate) async fn admit(
        &self,
        accepted: &Accepted,
        headers: &HeaderMap,
        access: Access,
    ) -> Result<Entry, Denied> {
        if access == Access::Open {
            return Ok(Entry { pass: None, tenant: None });
        }
        let Some(gate) = &self.gate else {
            let token = bearer_of(headers.get(AUTHORIZATION))?;
            return Ok(Entry { pass: None, tenant: Some(self.tenants.of_token(token).await?) });
        };
        if let Some((pass, tenant)) = self.again(accepted, headers, access) {
            return Ok(Entry { pass: Some(pass), tenant: Some(tenant) });
        }
        let pass = Arc::new(gate.pass(Credentials::of(headers, accepted))?);
        pass.is_used();
        let denied = |refusal| Denied { refusal, pass: Some(Arc::clone(&pass)) };
        pass.judge(access).map_err(denied)?;
        let tenant = match access {
            Access::Namespace { .. } => Some(self.tenants.of_log(&pass.nearest).await.map_err(denied)?),
            _ => None,
        };
        // It was judged by what stood before its namespace was opened.
        let pass = gate.renewed(Arc::clone(&pass), access).map_err(denied)?;
        if let Some(tenant) = &tenant {
            accepted.keep(Kept { pass: Arc::clone(&pass), tenant: tenant.downgrade() });
        }
        Ok(Entry { pass: Some(pass), tenant })
    }
}

impl Admission {
    /// What is put on the audit trail of a call that was let in, if anything is.
    pub(crate) fn recording(&self, entry: &Entry, kind: Kind, call: &Call) -> Option<Recording> {
        let pass = entry.pass.as_ref()?;
        let is_decision = match kind.access {
            Access::Open => return None,
            Access::Own => false,
            // Who takes everything away is told of, wherever it is from.
            Access::Server => true,
            Access::Namespace { is_change: true, .. } => false,
            Access::Namespace { .. } if !pass.tells_decisions || !kind.is_decision() => return None,
            Access::Namespace { .. } => true,
        };
        let gate = self.gate.as_ref()?;
        let trail = gate.trail.as_ref()?;
        Some(Recording::new(trail, call, &pass.as_caller(gate), is_decision))
    }

    /// Charges that a call was not let in for whose it is, or says why even that is not said: who is refused without end is refused for less.
    pub(crate) fn charge(&self, denied: &Denied, accepted: &Accepted, at: Instant) -> Result<(), Refusal> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let caller = denied.pass.as_ref().map(|pass| &pass.caller);
        gate.meters.denials.take(caller, accepted.from, at).map_err(Refusal::refused_too_often)?;
        let line = denied.pass.as_ref().and_then(|pass| pass.own_account.line.as_ref());
        // It is over as soon as it is counted.
        line.map_or(Ok(()), |line| line.begin(Counts::Call, at).map(drop))
            .map_err(|over| Refusal::over_quota(&over))
    }

    /// Puts on the audit trail that a call was not let in.
    pub(crate) fn not_admitted(
        &self,
        denied: &Denied,
        accepted: &Accepted,
        headers: &HeaderMap,
        call: &Call,
    ) {
        let Some(gate) = &self.gate else { return };
        let Some(trail) = &gate.trail else { return };
        if let Some(pass) = &denied.pass {
            return audit::not_admitted(trail, call, &pass.as_caller(gate), None, &denied.refusal);
        }
        let credentials = Credentials::of(headers, accepted);
        let token = bearer_of(credentials.authorization.as_ref()).ok();
        let certificate = credentials.peer.as_ref().map(|peer| peer.subject.object_id.as_str().into());
        let actor = Arc::new(Actor { accessor: None, certificate, address: credentials.address.clone() });
        let namespace = credentials.asked().ok().flatten().map(|path| audit::namespace_name(&path).into());
        let caller = Caller { at: gate.plane.now(), actor: &actor, namespace };
        audit::not_admitted(trail, call, &caller, token, &denied.refusal);
    }
}

impl Denied {
    /// Whether it is for whose the call is. What is locked or not there is said to who belongs, as often as they ask.
    pub(crate) fn is_of_who_may_not(&self) -> bool {
        matches!(self.refusal.code, Code::Unauthenticated | Code::PermissionDenied)
    }

    /// Whose turns it takes.
    pub(crate) fn tenancy(&self) -> Tenancy {
        self.pass.as_ref().map_or_else(Tenancy::of_nobody, |pass| pass.own_account.tenancy)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied { refusal, pass: None }
    }
}

impl Entry {
    /// For the service that answers the call.
    pub(crate) fn put_into(self, extensions: &mut Extensions, standing: Option<Standing>) {
        if let Some(tenant) = self.tenant {
            extensions.insert(tenant);
        }
        if let Some(pass) = self.pass {
            extensions.insert(Admitted(pass));
        }
        if let Some(standing) = standing {
            extensions.insert(standing);
        }
    }
}

impl Accepted {
    /// A connection from there, opened with a certificate or without one.
    pub(crate) fn new(address: Option<SocketAddr>, peer: Option<Peer>) -> Accepted {
        let from = address.map(|address| address.ip());
        let address = address.map(|address| address.to_string().into());
        let needs_certificate = false;
        Accepted { address, from, peer: peer.map(Arc::new), needs_certificate, kept: Mutex::default() }
    }

    /// The same where nobody is let in without a certificate, if so.
    pub(crate) fn needing_certificate(self, needs_certificate: bool) -> Accepted {
        Accepted { needs_certificate, ..self }
    }

    /// Where it comes from.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.pass.credentials != new.pass.credentials);
        kept.truncate(PASSES_MAX - 1);
        kept.insert(0, new);
    }
}

impl Credentials {
    fn of(headers: &HeaderMap, accepted: &Accepted) -> Credentials {
        let mut authorization = headers.get(AUTHORIZATION).cloned();
        if let Some(authorization) = &mut authorization {
            authorization.set_sensitive(true);
        }
        Credentials {
            authorization,
            namespace: headers.get(NAMESPACE).cloned(),
            vault_namespace: headers.get(VAULT_NAMESPACE).cloned(),
            peer: accepted.peer.clone(),
            needs_certificate: accepted.needs_certificate,
            address: accepted.address.clone(),
        }
    }

    /// Whether a call of the same connection brings the same.
    fn are_of(&self, headers: &HeaderMap) -> bool {
        let is_same_token = match (&self.authorization, headers.get(AUTHORIZATION)) {
            (Some(one), Some(other)) => is_same(one.as_bytes(), other.as_bytes()),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_token
            && self.namespace.as_ref() == headers.get(NAMESPACE)
            && self.vault_namespace.as_ref() == headers.get(VAULT_NAMESPACE)
    }

    /// The namespace that is named, if one is.
    fn asked(&self) -> Result<Option<NamespacePath>, Refusal> {
        let named = [(&self.namespace, false), (&self.vault_namespace, true)];
        let mut asked = None;
        for (header, is_vaults) in named {
            let Some(header) = header else { continue };
            let text = header.to_str().unwrap_or("\u{0}");
            // Clients of OpenBao write `team_a/` as well.
            let text = if is_vaults { text.trim_matches('/') } else { text };
            let path: NamespacePath = text.parse().map_err(Refusal::from)?;
            if asked.as_ref().is_some_and(|asked| *asked != path) {
                let text =
                    format!("`{NAMESPACE}` and `{VAULT_NAMESPACE}` name different namespaces: leave one out");
                return Err(Refusal::invalid(text));
            }
            asked = Some(path);
        }
        Ok(asked)
    }
}

impl Pass {
    fn as_caller(&self, gate: &Gate) -> Caller<'_> {
        Caller { at: gate.plane.now(), actor: &self.actor, namespace: Some(Arc::clone(&self.path)) }
    }

    /// Notes that its token is used.
    fn is_used(&self) {
        if let Some(mark) = &self.mark {
            mark.used();
        }
    }

    /// Who is charged for a call that needs this.
    pub(crate) fn account(&self, access: Access) -> &Account {
        if access == Access::Own { &self.own_account } else { &self.account }
    }

    /// Whether a call that needs this may be made with it.
    fn judge(&self, access: Access) -> Result<(), Refusal> {
        let (right, is_change) = match access {
            // As of one that is not there.
            Access::Own if self.is_strange => return Err(Refusal::not_permitted()),
            Access::Open | Access::Own => return Ok(()),
            Access::Server if self.namespace.is_root() && self.rights.has(Right::Administer) => return Ok(()),
            Access::Server => return Err(Refusal::not_permitted()),
            Access::Namespace { right, is_change } => (right, is_change),
        };
        if !self.rights.has(Right::Belong) {
            return Err(Refusal::not_permitted());
        }
        if let Some(lock) = &self.lock
            && (is_change || lock.lock.record.mode == LockMode::All)
        {
            return Err(Refusal::namespace_locked(lock));
        }
        match (self.rights.has(right), self.is_there) {
            (false, _) => Err(Refusal::not_permitted()),
            (true, false) => Err(Refusal::no_namespace(&self.namespace)),
            (true, true) => Ok(()),
        }
    }
}

impl Gate {
    pub(crate) fn new(
        plane: Arc<ControlPlane>,
        keys: Keys,
        trail: Option<Trail>,
        meters: Arc<Meters>,
    ) -> Gate {
        Gate { plane, keys, trail, meters }
    }

    /// The moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.plane.now()
    }

    /// Whether nothing has changed since a pass was made.
    fn holds(&self, pass: &Pass) -> bool {
        pass.version == self.plane.version() && pass.until.is_none_or(|until| until > self.plane.now())
    }

    /// The same pass if it still counts, otherwise another for the same caller and the same namespace.
    fn renewed(&self, pass: Arc<Pass>, access: Access) -> Result<Arc<Pass>, Refusal> {
        if self.holds(&pass) {
            return Ok(pass);
        }
        let new = self.pass(pass.credentials.clone())?;
        new.judge(access)?;
        if new.caller != pass.caller || (access != Access::Own && new.nearest != pass.nearest) {
            return Err(Refusal::no_namespace(&pass.namespace));
        }
        Ok(Arc::new(new))
    }

    /// What stands of who brings this.
    fn pass(&self, credentials: Credentials) -> Result<Pass, Refusal> {
        // First: what changes from here on makes another number.
        let version = self.plane.version();
        let now = self.plane.now();
        let (caller, home, token_until) = self.caller(&credentials, now)?;
        let asked = credentials.asked()?;
        let looked = self.plane.look(|view| {
            let home = view.namespace(&home).map(|record| record.path.clone());
            let path = asked.or_else(|| home.clone())?;
            let tells_decisions = view.metadata_of(&path, AUDIT_KEY).any(|(_, value)| value == DECISIONS);
            let charged = Charged::of(view, &path);
            Some((view.at(&path)?, view.lock(&path, now), (tells_decisions, charged), (path, home)))
        });
        // A tree without a root lets nobody in.
        let (found, lock, (tells_decisions, charged), (namespace, home)) =
            looked.map_err(|error| undecided(&error))?.ok_or_else(Refusal::not_permitted)?;
        let (id, record) = found.nearest;
        let rights = self.plane.rights(&caller, &id).map_err(|error| undecided(&error))?;
        let belongs = rights.has(Right::Belong);
        let is_home = home.as_ref() == Some(&namespace);
        // A certificate has no home: it belongs where it was granted something.
        let has_home = caller.object_type != CERTIFICATE;
        let own = if has_home || !belongs { home.filter(|_| !is_home) } else { None };
        let own = own.map(|home| self.plane.look(|view| Charged::of(view, &home))).transpose();
        let own = own.map_err(|error| undecided(&error))?;
        let account = |charged: Charged| Account {
            tenancy: charged.tenancy,
            line: self.meters.line(charged.limits, &caller, version),
        };
        let named_account = account(charged);
        let own_account = own.map_or_else(|| named_account.clone(), account);
        let lock_until = lock.as_ref().and_then(|lock| lock.lock.expires_at);
        let token = (caller.object_type == TOKEN).then(|| Accessor(caller.object_id.clone()));
        let mark = token.map(|accessor| self.plane.use_mark(&accessor));
        let accessor = credentials.authorization.as_ref().map(|_| caller.to_string().into());
        let certificate = credentials.peer.as_ref().map(|peer| peer.subject.object_id.as_str().into());
        let actor = Arc::new(Actor { accessor, certificate, address: credentials.address.clone() });
        Ok(Pass {
            caller,
            account: named_account,
            own_account,
            is_strange: !is_home && !belongs,
            mark,
            path: audit::namespace_name(&namespace).into(),
            namespace,
            actor,
            tells_decisions,
            is_there: found.is_exact && !record.is_deleting,
            nearest: (id, record.log),
            rights,
            lock,
            until: token_until.into_iter().chain(lock_until).min(),
            version,
            credentials,
        })
    }

    /// Who brings this, the namespace that is theirs, and until when that is so.
    fn caller(
        &self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<(SubjectRef, NamespaceId, Option<Timestamp>), Refusal> {
        let certified = match (credentials.needs_certificate, &credentials.peer) {
            (false, _) => None,
            (true, Some(peer)) if peer.until > now => Some(peer.until),
            (true, Some(_)) => return Err(Refusal::certificate_ended()),
            (true, None) => return Err(Refusal::certificate_missing()),
        };
        let token = match (&credentials.authorization, &credentials.peer) {
            (None, Some(peer)) if peer.until > now => {
                return Ok((peer.subject.clone(), NamespaceId::root(), Some(peer.until)));
            }
            (None, Some(_)) => return Err(Refusal::certificate_ended()),
            // Whoever brings something is judged by it.
            (brought, _) => bearer_of(brought.as_ref())?,
        };
        let hash = blake3::hash(token.as_bytes());
        if let Some(subject) = self.keys.subject(&hash) {
            return Ok((subject.clone(), NamespaceId::root(), certified));
        }
        let bearer =
            self.plane.look(|view| view.bearer(hash.as_bytes(), now)).map_err(|error| undecided(&error))?;
        let bearer = bearer.ok_or_else(Refusal::wrong_token)?;
        let until = bearer.until.into_iter().chain(bearer.token.expires_at).chain(certified).min();
        Ok((bearer.accessor.subject(), bearer.token.record.home.clone(), until))
    }
}

/// What is charged for calls at a path.
struct Charged {
    tenancy: Tenancy,
    limits: Limits,
}

impl Charged {
    fn of(view: &View, path: &NamespacePath) -> Charged {
        let tenancy = view.at(path).map(|found| {
            let namespace = found.nearest.1.log;
            Tenancy { tenant: tenant_of(view, path).unwrap_or(namespace), namespace }
        });
        Charged { tenancy: tenancy.unwrap_or_else(Tenancy::of_nobody), limits: Limits::of(view, path) }
    }
}

/// The log of the highest namespace on the way to a path, below `root`; that of `root` itself has none.
fn tenant_of(view: &View, path: &NamespacePath) -> Option<LogId> {
    view.line(path).filter(|(_, record)| !record.path.is_root()).last().map(|(_, record)| record.log)
}

fn undecided(error: &ControlError) -> Refusal {
    Refusal::new(Code::Unavailable, format!("{error}; try again"))
}

/// What a call sees.
pub(crate) fn tenant<T>(request: &Request<T>) -> Result<Tenant, Status> {
    let tenant = request.extensions().get::<Tenant>().cloned();
    tenant.ok_or_else(|| Status::internal("the call was not let in properly"))
}

/// Refuses what a request asks for beyond its call: it needs another right than the call does.
pub(crate) fn expect_right<T>(request: &Request<T>, right: Right) -> Result<(), Refusal> {
    match request.extensions().get::<Admitted>() {
        Some(Admitted(pass)) if !pass.rights.has(right) => Err(Refusal::not_permitted()),
        Some(_) => Ok(()),
        // Whoever has a store of their own may everything in it.
        None => tenant(request).map(drop).map_err(|_| Refusal::not_permitted()),
    }
}

/// A change is wanted until its deadline, and as long as its caller may make it.
pub(crate) fn wanted<T>(request: &Request<T>, deadline: Deadline) -> Wanted {
    match request.extensions().get::<Standing>().cloned() {
        None => deadline.wanted(),
        Some(standing) => Wanted::while_so(move || !deadline.is_over() && standing.stands()),
    }
}

#[cfg(test)]
mod tests;
