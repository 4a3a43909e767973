//! The data services of the bus (*dịch vụ chia sẻ dữ liệu*), as their owners declare them in `services.toml`.
//!
//! A service is a name and a version, the shape of a request and of a reply, and what its owner demands of whoever asks. Who may
//! ask is not here: that is a grant of the right `call`. Versions stand side by side, each for its own days.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal};

use super::Registry;
use super::call::{CallScope, Name, Names};
use super::load::{Declarations, SERVICES};
use super::problem::{Fault, Problem, ProblemKind};
use super::source::{Entry, Place, Placed, Problems};
use super::validity::Validity;
use super::word::words;
use crate::query::Schema;

/// How the files of schemas are called, beside `services.toml`.
pub const SCHEMA_SUFFIX: &str = ".schema.json";

/// The longest that an owner may let people wait: the bus gives no call longer.
const TIMEOUT_MOST_MS: u64 = 25_000;

/// Questions of one service under way at once, at the most that can be declared.
const CONCURRENCY_MOST: u64 = 10_000;

/// The longest an answer may be kept for others: a day.
const CACHE_MOST_S: u64 = 86_400;

words! {
    /// Something whose absence makes an owner refuse a query.
    Need {
        /// The dossier it is asked for, or the request under which that will be handed in.
        Dossier = "dossier",
        /// The procedure.
        Procedure = "procedure",
        /// The clerk. Every call of the bus names one; an owner says it to have it said.
        Actor = "actor",
    }
}

/// One version of a data service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name, e.g. `dan-cu-037`.
    pub name: String,
    /// Its version, 1 and up; a newer one has a greater number.
    pub version: u32,
    /// Who owns the data, registers the service and serves it.
    pub owner: PartyId,
    /// What it is, in Vietnamese.
    pub title: String,
    /// The same in English.
    pub title_en: Option<String>,
    /// The file with the schema of a request.
    pub request_file: String,
    /// The file with the schema of a reply.
    pub reply_file: String,
    /// What a request must look like.
    pub request: Schema,
    /// What a reply looks like. Its leaves are the fields that grants name.
    pub reply: Schema,
    /// For what it may be asked (*mục đích khai thác*).
    pub purposes: BTreeSet<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many questions may be under way at once.
    pub concurrency: usize,
    /// For how long an answer may be given again; zero for never.
    pub cache: Duration,
    /// What a query must name.
    pub needs: BTreeSet<Need>,
    /// The fields of a request that name the citizen.
    pub subject: Vec<String>,
    /// When it may be asked.
    pub validity: Validity,
}

impl Service {
    /// Its name and version as they are written together, e.g. `dan-cu-037/1`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The fields of its reply among those that are granted.
    pub fn fields_among(&self, granted: &Names) -> BTreeSet<String> {
        self.reply.fields().iter().filter(|field| granted.include(field)).cloned().collect()
    }
}

/// An entry whose schemas have not been looked at.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    name: String,
    version: u32,
    owner: PartyId,
    title: String,
    title_en: Option<String>,
    request: String,
    reply: String,
    purposes: BTreeSet<String>,
    timeout: Duration,
    concurrency: usize,
    cache: Duration,
    needs: BTreeSet<Need>,
    subject: Vec<String>,
    validity: Validity,
}

impl Draft {
    pub(super) fn owner(&self) -> &PartyId {
        &self.owner
    }

    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let number = |key, least, most, default: Option<u64>| read_number(entry, key, least, most, default);
        let name = entry.value::<Name>("name");
        let version = number("version", 1, u64::from(u32::MAX), None);
        let owner = entry.value("owner");
        let title = entry.text("title");
        let title_en = entry.optional_text("title_en");
        let (request, reply) = (entry.text("request"), entry.text("reply"));
        let purposes: BTreeSet<String> = entry.values::<Name>("purposes").into_iter().map(|name| name.0).collect();
        if entry.texts("purposes").is_empty() {
            let fault = Fault::new("phải nêu ít nhất một mục đích khai thác", "must name at least one purpose");
            entry.problem("purposes", ProblemKind::MissingKey, fault);
        }
        let timeout = number("timeout_ms", 1, TIMEOUT_MOST_MS, None);
        let concurrency = number("concurrency", 1, CONCURRENCY_MOST, Some(16));
        let cache = number("cache_s", 0, CACHE_MOST_S, Some(0));
        let needs: BTreeSet<Need> = entry.values("needs").into_iter().collect();
        let subject: Vec<String> = entry.texts("subject");
        let validity = entry.validity();
        Some(Self {
            name: name?.0,
            version: u32::try_from(version?).ok()?,
            owner: owner?,
            title: title?,
            title_en,
            request: request?,
            reply: reply?,
            purposes,
            timeout: Duration::from_millis(timeout?),
            concurrency: usize::try_from(concurrency?).ok()?,
            cache: Duration::from_secs(cache?),
            needs,
            subject,
            validity,
        })
    }
}

fn read_number(entry: &Entry<'_>, key: &'static str, least: u64, most: u64, default: Option<u64>) -> Option<u64> {
    if default.is_some() && !entry.has(key) {
        entry.ask_for(&[key]);
        return default;
    }
    let number = entry.number(key)?;
    if !(least..=most).contains(&number) {
        let fault = Fault::new(format!("phải từ {least} đến {most}"), format!("must be {least} to {most}"));
        entry.problem(key, ProblemKind::Malformed, fault);
        return None;
    }
    Some(number)
}

/// Reads the schemas of every service, and holds the grants against what there is.
pub(super) fn check(files: &BTreeMap<String, Vec<u8>>, declared: &Declarations, problems: &Problems) -> Vec<Service> {
    let mut named = BTreeSet::new();
    let mut services: Vec<Service> = Vec::new();
    for Placed { place, value: draft } in &declared.services.entries {
        named.extend([draft.request.as_str(), draft.reply.as_str()]);
        let request = schema(files, place, "request", &draft.request, problems);
        let reply = schema(files, place, "reply", &draft.reply, problems);
        if let Some(request) = &request {
            subject(place, draft, request, problems);
        }
        let (Some(request), Some(reply)) = (request, reply) else { continue };
        services.push(Service {
            name: draft.name.clone(),
            version: draft.version,
            owner: draft.owner.clone(),
            title: draft.title.clone(),
            title_en: draft.title_en.clone(),
            request_file: draft.request.clone(),
            reply_file: draft.reply.clone(),
            request,
            reply,
            purposes: draft.purposes.clone(),
            timeout: draft.timeout,
            concurrency: draft.concurrency,
            cache: draft.cache,
            needs: draft.needs.clone(),
            subject: draft.subject.clone(),
            validity: draft.validity,
        });
    }
    twice(declared, problems);
    if declared.services.names.is_some() {
        grants(declared, &services, problems);
    }
    for name in files.keys().filter(|name| name.ends_with(SCHEMA_SUFFIX) && !named.contains(name.as_str())) {
        problems.add(Problem {
            kind: ProblemKind::UnknownFile,
            file: name.clone(),
            path: String::new(),
            line: None,
            vi: format!("không dịch vụ nào trong {SERVICES} dùng lược đồ này"),
            en: format!("is the schema of no service in {SERVICES}"),
        });
    }
    services.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    services
}

fn schema(
    files: &BTreeMap<String, Vec<u8>>,
    place: &Place,
    key: &str,
    name: &str,
    problems: &Problems,
) -> Option<Schema> {
    let Some(text) = files.get(name).filter(|_| name.ends_with(SCHEMA_SUFFIX)) else {
        let fault = Fault::new(
            format!("không có tệp \"{name}\"; lược đồ là tệp *{SCHEMA_SUFFIX} đặt cạnh {SERVICES}"),
            format!(
                "names the file \"{name}\", which is not there; a schema is a file *{SCHEMA_SUFFIX} beside {SERVICES}"
            ),
        );
        problems.add(place.problem(key, ProblemKind::UnknownReference, fault));
        return None;
    };
    let faults = match Schema::parse(text) {
        Ok(schema) => return Some(schema),
        Err(faults) => faults,
    };
    for fault in faults {
        let problem = Problem {
            kind: ProblemKind::Schema,
            file: name.to_owned(),
            path: fault.at,
            line: None,
            vi: fault.vi,
            en: fault.en,
        };
        problems.add_once(problem);
    }
    None
}

/// Whoever is asked about is named by fields of the request; and a question about a person is bound to a dossier and a procedure.
fn subject(place: &Place, draft: &Draft, request: &Schema, problems: &Problems) {
    for field in draft.subject.iter().filter(|field| !request.fields().contains(*field)) {
        let fault = Fault::new(
            format!("\"{field}\" không phải trường của yêu cầu ({})", draft.request),
            format!("\"{field}\" is no field of the request ({})", draft.request),
        );
        problems.add(place.problem("subject", ProblemKind::UnknownReference, fault));
    }
    if !draft.subject.is_empty() && !draft.cache.is_zero() {
        let fault = Fault::new(
            "dịch vụ hỏi về một người (subject) không được lưu tạm câu trả lời: bỏ cache_s",
            "asks about a person (subject), whose answers are not kept for others: leave cache_s out",
        );
        problems.add(place.problem("cache_s", ProblemKind::Contradiction, fault));
    }
    let lacks = [Need::Dossier, Need::Procedure].into_iter().find(|need| !draft.needs.contains(need));
    if let Some(need) = lacks.filter(|_| !draft.subject.is_empty()) {
        let fault = Fault::new(
            format!("dịch vụ hỏi về một người (subject) phải gắn với hồ sơ và thủ tục: thêm \"{need}\" vào needs"),
            format!(
                "asks about a person (subject), which is bound to a dossier and a procedure: add \"{need}\" to needs"
            ),
        );
        problems.add(place.problem("needs", ProblemKind::Contradiction, fault));
    }
}

fn twice(declared: &Declarations, problems: &Problems) {
    let mut seen = BTreeMap::new();
    for Placed { place, value } in &declared.services.entries {
        if let Some(first) = seen.insert((&value.name, value.version), place.line()) {
            let (name, version) = (&value.name, value.version);
            let fault = Fault::new(
                format!("\"{name}\" bản {version} đã được khai ở dòng {first}"),
                format!("\"{name}\" version {version} is already declared on line {first}"),
            );
            problems.add(place.problem("version", ProblemKind::Duplicate, fault));
        }
    }
}

/// A grant of the right `call` names a service, purposes and fields that there are, in any of the service's versions.
fn grants(declared: &Declarations, services: &[Service], problems: &Problems) {
    for Placed { place, value: grant } in &declared.grants.entries {
        let Some(CallScope { service, purposes, fields }) = &grant.call else { continue };
        if declared.services.lacks(service) {
            let fault = Fault::new(
                format!("dịch vụ \"{service}\" chưa được khai trong {SERVICES}"),
                format!("refers to the service \"{service}\", which {SERVICES} does not declare"),
            );
            problems.add(place.problem("service", ProblemKind::UnknownReference, fault));
            continue;
        }
        let versions: Vec<&Service> = services.iter().filter(|one| one.name == *service).collect();
        // One of them could not be read: nobody complains of references into it.
        let declared_versions = declared.services.values().filter(|one| one.name == *service).count();
        if versions.is_empty() || versions.len() < declared_versions {
            continue;
        }
        let unknown = |names: &Names, knows: &dyn Fn(&Service, &str) -> bool| -> Vec<String> {
            let Names::Listed(names) = names else { return Vec::new() };
            names.iter().filter(|name| !versions.iter().any(|one| knows(one, name))).cloned().collect()
        };
        for purpose in unknown(purposes, &|one, name| one.purposes.contains(name)) {
            let fault = Fault::new(
                format!("dịch vụ \"{service}\" không có mục đích \"{purpose}\""),
                format!("names the purpose \"{purpose}\", which the service \"{service}\" does not have"),
            );
            problems.add(place.problem("purposes", ProblemKind::UnknownReference, fault));
        }
        for field in unknown(fields, &|one, name| one.reply.fields().contains(name)) {
            let fault = Fault::new(
                format!("câu trả lời của dịch vụ \"{service}\" không có trường \"{field}\""),
                format!("names the field \"{field}\", which the reply of the service \"{service}\" does not have"),
            );
            problems.add(place.problem("fields", ProblemKind::UnknownReference, fault));
        }
    }
}

/// There is no such service to ask on that day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no service \"{name}\" of that version is in force")]
pub struct NoService {
    /// The name.
    pub name: Box<str>,
    /// The version; `None` for any.
    pub version: Option<u32>,
}

impl NoService {
    /// The refusal that names it.
    pub fn refusal(&self) -> Refusal {
        let refusal = Refusal::new(Reason::ServiceUnknown).detail("service", &self.name);
        match self.version {
            Some(version) => refusal.detail("version", version),
            None => refusal,
        }
    }
}

/// Data services.
impl Registry {
    /// Every version of every service, in the order of names and versions.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// A version of a service that may be asked on that day; the newest when none is named.
    ///
    /// # Errors
    /// There is none.
    pub fn service(&self, name: &str, version: Option<u32>, date: Date) -> Result<&Service, NoService> {
        let fits = |one: &&Service| {
            one.name == name && version.is_none_or(|version| one.version == version) && one.validity.contains(date)
        };
        let absent = || NoService { name: name.into(), version };
        self.services.iter().rev().find(fits).ok_or_else(absent)
    }
}
