//! How keys come onto the bus and out of force: operators issue, withdraw and revoke, systems join and renew.
//!
//! One call at a time, begun when nobody else has anything to do: keys are read and certificates signed on other threads, and what
//! happens must not depend on how fast those are. Keys and tokens are random, so they are told apart by the order in which
//! they came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::PrivateKey;
use lgsp_gateway::engine::certificates::{JoinAttempt, ToRevoke, TokenWanted};
use lgsp_gateway::store::sled::SteppedStore;
use lgsp_gateway::store::{Store, TokenState};
use lgsp_proto::types::{JoinToken, Sha256Digest};
use lgsp_proto::{Reason, Refusal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::draw::Draw;
use crate::house::HOUSE;
use crate::machine::{OPERATOR, Shared, lock};
use crate::node::Running;
use crate::output;
use crate::watch::{Watch, now};

/// The systems that join; none of them has a machine in the runs.
const JOINING: [&str; 2] = ["so-nganh", "cong-an"];

/// What may be done about keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Deed {
    IssueToken,
    WithdrawToken,
    Join,
    Renew,
    Revoke,
}

/// A token that somebody was given.
struct Token {
    token: Arc<JoinToken>,
    system: &'static str,
    /// The keys it was tried with, the first one first.
    tried: Vec<usize>,
    /// The key and the certificate it was answered with.
    spent: Option<(usize, Sha256Digest)>,
    withdrawn: bool,
    /// Somebody said so, and was perhaps not answered.
    perhaps_withdrawn: bool,
    /// The books were restored since it was issued.
    is_of_before: bool,
}

/// A key, whoever holds it.
struct Key {
    private: Arc<PrivateKey>,
    /// Its certificates that somebody was given; those that the books still know are marked.
    certificates: Vec<Certificate>,
    revoked: bool,
    perhaps_revoked: bool,
}

#[derive(Clone)]
struct Certificate {
    digest: Sha256Digest,
    chain: Vec<Bytes>,
    system: &'static str,
    is_known: bool,
}

/// All that was answered, whoever heard of it.
#[derive(Default)]
struct Seen {
    tokens: Vec<Token>,
    keys: Vec<Key>,
}

/// The people and systems that do it.
#[derive(Default)]
pub(crate) struct Keys {
    seen: Shared<Seen>,
    under_way: Option<JoinHandle<()>>,
    last: Option<Instant>,
}

impl Key {
    fn digest(&self) -> Sha256Digest {
        Sha256Digest::from(self.private.key_sha256())
    }
}

impl Keys {
    /// Begins `deed`, if there is anything to do it with and the one before is over.
    pub(crate) async fn begin(&mut self, deed: Deed, draw: &mut Draw, running: Option<Running>, watch: &Shared<Watch>) {
        let Some(running) = running else { return };
        if let Some(call) = self.under_way.take() {
            if !call.is_finished() {
                self.under_way = Some(call);
                return;
            }
            if call.await.is_err() {
                return lock(watch).violated("SIM-9", "a panic, see above");
            }
        }
        // Whoever is turned away for being too quick depends on the tokens' random names.
        let pause = Duration::from_secs(1);
        if let Some(rest) = self.last.and_then(|last| pause.checked_sub(last.elapsed())) {
            sleep(rest).await;
        }
        self.last = Some(Instant::now());
        let call = match deed {
            Deed::IssueToken => self.issue(draw),
            Deed::WithdrawToken => self.withdraw(draw),
            Deed::Join => self.join(draw),
            Deed::Renew => self.renew(draw),
            Deed::Revoke => self.revoke(draw),
        };
        let Some(call) = call else { return };
        let (seen, watch) = (Arc::clone(&self.seen), Arc::clone(watch));
        self.under_way = Some(tokio::spawn(async move {
            tokio::select! {
                biased;
                () = running.died.cancelled() => {}
                () = call.make(&running, &seen, &watch) => {}
            }
        }));
    }

    fn issue(&self, draw: &mut Draw) -> Option<Call> {
        Some(Call::Issue(draw.pick::<&str>(&JOINING)))
    }

    /// One of the last few tokens.
    fn some_token(seen: &Seen, draw: &mut Draw) -> Option<usize> {
        let recent = seen.tokens.len().min(4);
        (recent > 0).then(|| seen.tokens.len() - 1 - draw.below(recent))
    }

    fn withdraw(&self, draw: &mut Draw) -> Option<Call> {
        let mut seen = lock(&self.seen);
        let token = Self::some_token(&seen, draw)?;
        seen.tokens[token].perhaps_withdrawn = true;
        Some(Call::Withdraw(token))
    }

    fn join(&self, draw: &mut Draw) -> Option<Call> {
        let mut seen = lock(&self.seen);
        let token = Self::some_token(&seen, draw)?;
        // The same one again, mostly; somebody else's; or one that had another use before.
        let first = seen.tokens[token].tried.first().copied();
        let key = match first {
            Some(first) if draw.percent(60) => first,
            _ if !seen.keys.is_empty() && draw.percent(15) => draw.below(seen.keys.len()),
            _ => seen.new_key(),
        };
        seen.tokens[token].tried.push(key);
        Some(Call::Join(token, key))
    }

    fn renew(&self, draw: &mut Draw) -> Option<Call> {
        let mut seen = lock(&self.seen);
        let certified: Vec<usize> =
            (0..seen.keys.len()).filter(|key| !seen.keys[*key].certificates.is_empty()).collect();
        if certified.is_empty() {
            return None;
        }
        let from = *draw.pick(&certified);
        let to = if draw.percent(15) { draw.below(seen.keys.len()) } else { seen.new_key() };
        Some(Call::Renew(from, to))
    }

    fn revoke(&self, draw: &mut Draw) -> Option<Call> {
        let mut seen = lock(&self.seen);
        if seen.keys.is_empty() {
            return None;
        }
        let (key, system) = (draw.below(seen.keys.len()), *draw.pick(&JOINING));
        let what = match (draw.below(3), seen.keys[key].certificates.first().map(|one| one.digest)) {
            (0, _) => {
                let is_of = |one: &Certificate| one.system == system;
                // A key of a join or a renewal that nobody heard of may be the system's as well.
                for key in seen.keys.iter_mut() {
                    key.perhaps_revoked |= key.certificates.is_empty() || key.certificates.iter().any(is_of);
                }
                let theirs = seen.tokens.iter_mut().filter(|token| token.system == system);
                theirs.for_each(|token| token.perhaps_withdrawn = true);
                ToRevoke::System(system.to_owned())
            }
            (1, Some(certificate)) => ToRevoke::Certificate(certificate),
            _ => ToRevoke::Key(seen.keys[key].digest()),
        };
        seen.keys[key].perhaps_revoked = true;
        Some(Call::Revoke(key, what))
    }

    /// The books were restored: `store` is what they hold now.
    pub(crate) fn restored(&mut self, store: &SteppedStore) {
        let mut seen = lock(&self.seen);
        seen.tokens.iter_mut().for_each(|token| token.is_of_before = true);
        for key in &mut seen.keys {
            let digest = key.digest();
            // A known limit: a revocation after the backup is lost with it, and has to be said again.
            key.revoked &= now(store.revocation(&digest)).is_ok_and(|revocation| revocation.is_some());
            for certificate in &mut key.certificates {
                let known = now(store.known_certificate(&certificate.digest));
                certificate.is_known &= known.is_ok_and(|known| known.is_some());
            }
        }
    }

    /// A gateway has started: what was answered is so.
    pub(crate) fn check(&self, running: &Running, watch: &mut Watch) {
        let seen = lock(&self.seen);
        for (number, token) in seen.tokens.iter().enumerate().filter(|(_, token)| !token.is_of_before) {
            let Ok(Some(standing)) = now(running.store.token(token.token.id())) else {
                watch.violated("SIM-14", format!("token {number} was issued and is not there"));
                continue;
            };
            let is_spent =
                |digest: Sha256Digest| matches!(&standing.state, TokenState::Spent(on) if on.digest == digest);
            if token.spent.is_some_and(|(_, certificate)| !is_spent(certificate)) {
                watch.violated("SIM-14", format!("token {number} was spent, and is {:?}", standing.state));
            }
            if token.withdrawn && standing.state == TokenState::Open {
                watch.violated("SIM-14", format!("token {number} was taken back, and is open"));
            }
        }
        for (number, key) in seen.keys.iter().enumerate().filter(|(_, key)| key.revoked) {
            let is_on_record = now(running.store.revocation(&key.digest())).is_ok_and(|found| found.is_some());
            if !is_on_record || !running.engine.connections().is_revoked(&key.private.key_sha256()) {
                watch.violated("SIM-15", format!("key {number} was revoked, and is in force again"));
            }
        }
    }
}

impl Seen {
    fn new_key(&mut self) -> usize {
        let private = Arc::new(PrivateKey::generate().unwrap());
        self.keys.push(Key { private, certificates: Vec::new(), revoked: false, perhaps_revoked: false });
        self.keys.len() - 1
    }

    /// A certificate was given for a key, over nothing that is out of force.
    fn certified(
        &mut self,
        key: usize,
        system: &'static str,
        chain: Vec<Bytes>,
        digest: Sha256Digest,
        watch: &mut Watch,
    ) {
        if self.keys[key].revoked {
            watch.violated("SIM-15", format!("key {key} is revoked, and was certified"));
        }
        let certificates = &mut self.keys[key].certificates;
        if certificates.iter().all(|known| known.digest != digest) {
            certificates.push(Certificate { digest, chain, system, is_known: true });
        }
    }

    fn refused_as_revoked(&self, keys: &[usize], watch: &mut Watch) {
        if keys.iter().all(|key| !self.keys[*key].perhaps_revoked) {
            watch.violated("SIM-15", format!("nobody revoked any of {keys:?}"));
        }
    }
}

/// A call, with the numbers of the tokens and keys it is about.
enum Call {
    Issue(&'static str),
    Withdraw(usize),
    Join(usize, usize),
    /// From one key to another.
    Renew(usize, usize),
    Revoke(usize, ToRevoke),
}

impl Call {
    async fn make(self, running: &Running, seen: &Shared<Seen>, watch: &Shared<Watch>) {
        let told = match self {
            Self::Issue(system) => issue(system, running, seen).await,
            Self::Withdraw(token) => withdraw(token, running, seen).await,
            Self::Join(token, key) => join((token, key), running, seen, watch).await,
            Self::Renew(from, to) => renew((from, to), running, seen, watch).await,
            Self::Revoke(key, what) => revoke((key, what), running, seen, watch).await,
        };
        let mut watch = lock(watch);
        match told {
            Ok(told) => watch.note(told),
            Err((what, refusal)) => {
                watch.note(format!("{what}: {}", refusal.reason().as_str()));
                if refusal.reason() == Reason::Internal {
                    watch.violated("SIM-9", format!("{what} met an internal error"));
                }
            }
        }
    }
}

/// What was done, or what was tried and why it was refused.
type Told = Result<String, (String, Refusal)>;

async fn issue(system: &'static str, running: &Running, seen: &Shared<Seen>) -> Told {
    let (party, actor) = (OPERATOR.parse().unwrap(), "van-hanh-1".parse().unwrap());
    let wanted =
        TokenWanted { system: system.parse().unwrap(), acts_for: Vec::new(), description: String::new(), valid: None };
    let issued = running.engine.issue_token(&HOUSE.peer("van-hanh"), &party, &actor, wanted).await;
    let token = Arc::new(issued.map_err(|refusal| (format!("a token for {system}"), refusal))?.token);
    output::tokens_in("simulation", token.to_text().as_bytes());
    let mut seen = lock(seen);
    seen.tokens.push(Token {
        token,
        system,
        tried: Vec::new(),
        spent: None,
        withdrawn: false,
        perhaps_withdrawn: false,
        is_of_before: false,
    });
    Ok(format!("token {} is for {system}", seen.tokens.len() - 1))
}

async fn withdraw(token: usize, running: &Running, seen: &Shared<Seen>) -> Told {
    let (party, actor) = (OPERATOR.parse().unwrap(), "van-hanh-1".parse().unwrap());
    let id = *lock(seen).tokens[token].token.id();
    let withdrawn = running.engine.withdraw_token(&HOUSE.peer("van-hanh"), &party, &actor, id).await;
    withdrawn.map_err(|refusal| (format!("withdrawing token {token}"), refusal))?;
    lock(seen).tokens[token].withdrawn = true;
    Ok(format!("token {token} is withdrawn"))
}

async fn join((token, key): (usize, usize), running: &Running, seen: &Shared<Seen>, watch: &Shared<Watch>) -> Told {
    let (told, signing_request) = {
        let seen = lock(seen);
        (Arc::clone(&seen.tokens[token].token), seen.keys[key].private.signing_request().unwrap())
    };
    let attempt =
        JoinAttempt { id: *told.id(), secret: told.secret().to_vec().into(), signing_request: signing_request.into() };
    let what = format!("joining with token {token} and key {key}");
    let joined = running.engine.join(attempt).await;
    let (mut seen, mut watch) = (lock(seen), lock(watch));
    let known = &mut seen.tokens[token];
    match joined {
        Ok(joined) => {
            let issued = joined.chain.issued;
            let spent = (key, issued.digest);
            if known.withdrawn || known.is_of_before {
                watch.violated("SIM-14", format!("{what}: it was taken back, or is of an earlier epoch"));
            }
            if known.spent.replace(spent).is_some_and(|before| before != spent) {
                watch.violated("SIM-14", format!("{what}: it was spent on another certificate"));
            }
            watch.tally.joined += 1;
            let system = known.system;
            let chain = std::iter::once(issued.der).chain(issued.intermediates).collect();
            seen.certified(key, system, chain, issued.digest, &mut watch);
            Ok(what)
        }
        Err(refusal) => {
            match refusal.reason() {
                Reason::TokenSpent if known.spent.is_some_and(|(spent_on, _)| spent_on == key) => {
                    watch.violated("SIM-14", format!("{what}: refused to the very key it was spent on"));
                }
                Reason::TokenInvalid if !known.perhaps_withdrawn && !known.is_of_before => {
                    watch.violated("SIM-14", format!("{what}: nobody took it back"));
                }
                Reason::CertificateRevoked => seen.refused_as_revoked(&[key], &mut watch),
                _ => {}
            }
            Err((what, refusal))
        }
    }
}

async fn renew((from, to): (usize, usize), running: &Running, seen: &Shared<Seen>, watch: &Shared<Watch>) -> Told {
    let (certificate, private, signing_request) = {
        let seen = lock(seen);
        let key = &seen.keys[from];
        let shown = key.certificates.last().expect("it was chosen for it").clone();
        (shown, Arc::clone(&key.private), seen.keys[to].private.signing_request().unwrap())
    };
    let peer = HOUSE.joined(&certificate.chain, &private);
    let what = format!("renewing from key {from} to key {to}");
    let renewed = running.engine.renew(&peer, &signing_request).await;
    let (mut seen, mut watch) = (lock(seen), lock(watch));
    match renewed {
        Ok(chain) => {
            if seen.keys[from].revoked {
                watch.violated("SIM-15", format!("{what}: the first is revoked"));
            }
            watch.tally.renewed += 1;
            let issued = chain.issued;
            let chain = std::iter::once(issued.der).chain(issued.intermediates).collect();
            seen.certified(to, certificate.system, chain, issued.digest, &mut watch);
            Ok(what)
        }
        Err(refusal) => {
            if refusal.reason() == Reason::CertificateRevoked {
                seen.refused_as_revoked(&[from, to], &mut watch);
            }
            Err((what, refusal))
        }
    }
}

async fn revoke((key, what): (usize, ToRevoke), running: &Running, seen: &Shared<Seen>, watch: &Shared<Watch>) -> Told {
    let (party, actor) = (OPERATOR.parse().unwrap(), "van-hanh-1".parse().unwrap());
    let system = if let ToRevoke::System(system) = &what { Some(system.clone()) } else { None };
    let ground = "KEY_STOLEN".to_owned();
    let revoked = running.engine.revoke(&HOUSE.peer("van-hanh"), &party, &actor, what, ground, true).await;
    let said = system.as_ref().map_or_else(|| format!("revoking key {key}"), |system| format!("revoking {system}"));
    let revoked = revoked.map_err(|refusal| (said.clone(), refusal))?;
    let (mut seen, mut watch) = (lock(seen), lock(watch));
    watch.tally.revoked += 1;
    let Some(system) = system else {
        seen.keys[key].revoked = true;
        return Ok(said);
    };
    for (number, key) in seen.keys.iter_mut().enumerate() {
        let theirs = key.certificates.iter().filter(|one| one.system == system && one.is_known);
        let (mut told, mut left_out) = (false, false);
        theirs.for_each(|one| match revoked.certificates.contains(&one.digest) {
            true => told = true,
            false => left_out = true,
        });
        if left_out {
            watch.violated("SIM-15", format!("{said}: key {number} was left out"));
        }
        key.revoked |= told;
    }
    let open = seen.tokens.iter_mut().filter(|token| token.system == system && token.spent.is_none());
    open.for_each(|token| token.withdrawn = true);
    Ok(format!("{said}: {} tokens", revoked.tokens_withdrawn))
}
