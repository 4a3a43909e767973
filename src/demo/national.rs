//! The national systems of the demo: a population database, a procedure database and a portal, each a counterpart of the rehearsal kit in a
//! process of its own, which its adapter reaches over HTTPS as it would reach the real one.
//!
//! Owns how they are started, what their adapters are told of them, and what is asked of both sides at the end. That they answer as
//! agreed is the rehearsal's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use jiff::ToSpan as _;
use lgsp_domain::registry::{PartyKind, Registry, Right};
use lgsp_proto::types::PartyId;
use serde::Deserialize;
use serde_json::Value;

use super::city::{self, party_of};
use super::folder::Folder;
use super::scenario::clerks_of;
use super::ticks::DAY;
use crate::staging::https;
use crate::staging::processes::Process;

/// Who owns the population database and the procedure database, as the registry has it.
const POPULATION: &str = "G01";
const PROCEDURES: &str = "G22";
/// The province, as the national systems know it.
const UNIT: &str = "H57";
/// What the portal takes for an answer, in milliseconds: a day is told in a minute here.
const PORTAL_TAKES_MS: u32 = 1;
/// Dossiers told to the portal at one time.
const PORTAL_AT_ONCE: u32 = 8;
/// Procedures in the national catalogue: about as many as the day has dossiers, at least and at most. The real one has the most.
const CATALOGUE: (u32, u32) = (200, 5_600);
/// What the portal's counterpart cannot judge from where it stands: its own desk's acts are told to nobody, so a status may leap there. The
/// statuses and steps that it has are compared with the journal instead.
const NOT_JUDGED: &str = "status-course";

/// Which of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Which {
    Population,
    Procedures,
    Portal,
}

/// What they are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// The seed of the people and of the catalogue.
    pub(super) seed: u64,
    /// How many dossiers the day has.
    pub(super) dossiers: u32,
}

/// One that runs.
pub(super) struct Counterpart {
    pub(super) process: Process,
    /// The system whose adapter reaches it.
    pub(super) system: String,
    which: Which,
    party: PartyId,
    facts: BTreeMap<String, String>,
}

/// Its first line.
#[derive(Deserialize)]
struct Ready {
    ready: BTreeMap<String, String>,
}

/// Its last line.
#[derive(Deserialize)]
struct Ended {
    report: Report,
}

#[derive(Deserialize)]
struct Report {
    checks: Vec<Check>,
}

/// Something that a connector has to do right.
#[derive(Deserialize)]
struct Check {
    id: String,
    failed: u64,
    example: Option<String>,
}

/// A dossier as the portal has it, by codes and times.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Filed {
    #[serde(rename = "MaHoSo")]
    pub(super) code: String,
    #[serde(rename = "MaTTHC")]
    pub(super) procedure: String,
    #[serde(rename = "TrangThaiHoSo")]
    pub(super) status: String,
    #[serde(rename = "NgayTiepNhan")]
    pub(super) received: String,
    /// When each step was taken, and the status after it.
    pub(super) steps: Vec<(String, String)>,
}

/// What the province's catalogue is beside the national one.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// Procedures of the national one.
    pub(super) procedures: u64,
    /// Of those that the province has: as they are there, and changed there.
    pub(super) unchanged: u64,
    pub(super) changed: u64,
}

/// What the portal's adapter found of both sides.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Dossiers that were compared.
    pub(super) dossiers: u64,
    /// Dossiers that were behind there, and were sent again.
    pub(super) sent_again: BTreeSet<String>,
    /// What else is not the same, in words, by dossier.
    pub(super) differences: BTreeMap<String, String>,
}

impl Which {
    pub(super) const ALL: [Self; 3] = [Self::Population, Self::Procedures, Self::Portal];

    /// As the command line and the folders call it.
    fn word(self) -> &'static str {
        match self {
            Self::Population => "population",
            Self::Procedures => "procedures",
            Self::Portal => "portal",
        }
    }

    fn party(self, registry: &Registry) -> anyhow::Result<PartyId> {
        match self {
            Self::Population => Ok(POPULATION.parse()?),
            Self::Procedures => Ok(PROCEDURES.parse()?),
            Self::Portal => party_of(PartyKind::Portal, registry),
        }
    }

    /// What it is told beyond where it is.
    fn arguments(self, made: Made) -> Vec<String> {
        let Made { seed, dossiers } = made;
        let told: Vec<(&str, String)> = match self {
            Self::Population => vec![("--seed", seed.to_string())],
            Self::Procedures => {
                let (least, most) = CATALOGUE;
                let count = dossiers.clamp(least, most);
                vec![("--seed", seed.to_string()), ("--count", count.to_string()), ("--day", DAY.to_string())]
            }
            Self::Portal => vec![("--takes", PORTAL_TAKES_MS.to_string())],
        };
        told.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

impl Counterpart {
    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// It does not start, or the registry has nobody to reach it.
    pub(super) async fn start(which: Which, made: Made, folder: &Folder, registry: &Registry) -> anyhow::Result<Self> {
        let party = which.party(registry)?;
        let system = city::system_of(&party, registry)?;
        let dir = folder.national(which.word()).display().to_string();
        let words = ["rehearse", which.word(), "--until-stdin-closes", "--json", "--port", "0", "--dir", &dir];
        let arguments = words.map(str::to_owned).into_iter().chain(which.arguments(made));
        let mut process = Process::start(&format!("national-{}", which.word()), arguments, &folder.logs())?;
        let Ready { ready: facts } = process.ready().await?;
        let counterpart = Self { process, system, which, party, facts };
        counterpart.furnish(folder, registry)?;
        Ok(counterpart)
    }

    /// Whether the agency behind its adapter is posted to: what the portal is told nobody else is.
    pub(super) fn leaves_webhooks(&self) -> bool {
        self.which != Which::Portal
    }

    /// The files beside the counterpart's own that its adapter reads.
    fn furnish(&self, folder: &Folder, registry: &Registry) -> anyhow::Result<()> {
        if self.which == Which::Population {
            return folder.write_private(&self.clerks(folder), &clerks(registry));
        }
        folder.write_private(&self.password(folder), &format!("{}\n", self.fact("password")?))
    }

    /// What its adapter is told of it: a section of the configuration.
    ///
    /// # Errors
    /// It has not said something that is needed.
    pub(super) fn section(&self, folder: &Folder) -> anyhow::Result<String> {
        let (party, url, ca) = (&self.party, self.fact("url")?, self.fact("ca")?);
        Ok(match self.which {
            Which::Population => {
                let [path, client, user] = [self.fact("path")?, self.fact("client")?, self.fact("user")?];
                let [key, secret] = [self.fact("api_key_file")?, self.fact("secret_file")?];
                let clerks = self.clerks(folder);
                format!(
                    "[population]\nparty = \"{party}\"\n\n[population.ministry]\nurl = \"{url}{path}\"\nbundle = \"{ca}\"\n\
                     client = \"{client}\"\napi_key_file = \"{key}\"\nuser = \"{user}\"\nsecret_file = \"{secret}\"\n\
                     clerks_file = \"{}\"\n",
                    clerks.display()
                )
            }
            Which::Procedures => format!(
                "[procedures]\nparty = \"{party}\"\nurl = \"{url}\"\nbundle = \"{ca}\"\nuser = \"{}\"\n\
                 password_file = \"{}\"\nunit = \"{UNIT}\"\n",
                self.fact("user")?,
                self.password(folder).display()
            ),
            Which::Portal => format!(
                "[portal]\nservice_url = \"{url}{}\"\nlogin_url = \"{url}{}\"\nusername = \"{}\"\npassword_file = \"{}\"\n\
                 bundle = \"{ca}\"\ndestination = \"{PROCEDURES}\"\nunit = \"{UNIT}\"\nparties = [\"{party}\"]\n\
                 at_once = {PORTAL_AT_ONCE}\n",
                self.fact("service")?,
                self.fact("login")?,
                self.fact("user")?,
                self.password(folder).display()
            ),
        })
    }

    /// Compares the portal with what its adapter, which is at this address, was told; and the portal's own book as it is then.
    ///
    /// # Errors
    /// A side does not answer, or the adapter did not compare everything.
    pub(super) async fn both_sides(&self, folder: &Folder, adapter: &str) -> anyhow::Result<(Compared, Vec<Filed>)> {
        let compared = compared(folder, adapter).await?;
        let book = self.book().await?;
        let (here, there) = (compared.dossiers, book.len());
        ensure!(here == there as u64, "the portal has {there} dossiers, and its adapter compared {here}");
        Ok((compared, book))
    }

    async fn book(&self) -> anyhow::Result<Vec<Filed>> {
        https::get(&format!("{}/_rehearsal/dossiers", self.fact("url")?), Path::new(self.fact("ca")?)).await
    }

    /// Stops it, and hears what its adapter did wrong towards it, if anything. That a quiet day has not tried everything is no fault.
    ///
    /// # Errors
    /// It did not stop as it should.
    pub(super) async fn stop(self) -> anyhow::Result<Vec<String>> {
        let Ended { report } = self.process.judged().await?;
        let failed = report.checks.into_iter().filter(|check| check.failed > 0 && check.id != NOT_JUDGED);
        let word = self.which.word();
        Ok(failed.map(|Check { id, example, .. }| format!("{word}: {id}: {}", example.unwrap_or_default())).collect())
    }

    pub(super) fn is(&self, which: Which) -> bool {
        self.which == which
    }

    fn clerks(&self, folder: &Folder) -> PathBuf {
        folder.national(self.which.word()).join("clerks.toml")
    }

    fn password(&self, folder: &Folder) -> PathBuf {
        folder.national(self.which.word()).join("password")
    }

    fn fact(&self, name: &str) -> anyhow::Result<&str> {
        let fact = self.facts.get(name).map(String::as_str);
        fact.with_context(|| format!("{} does not say its {name}", self.process.name))
    }
}

/// Everybody at a desk, with a credential at the ministry. Nobody's.
fn clerks(registry: &Registry) -> String {
    let mut text = String::new();
    let desks = registry.parties_with(Right::Submit, DAY);
    for (number, (desk, clerk)) in (1..).zip(desks.flat_map(|desk| clerks_of(desk).map(move |clerk| (desk, clerk)))) {
        text += &format!(
            "[[clerk]]\nparty = \"{desk}\"\nactor = \"{clerk}\"\nstaff = \"CB-{number:06}\"\nunit = \"DV-{desk}\"\n\
             account = \"tk{number:06}\"\nphone = \"\"\n",
        );
    }
    text
}

/// Fetches the national catalogue over the bus into a folder, as the operator does with this profile, and compares the registry's with it.
///
/// # Errors
/// One of the commands failed; says which and why.
pub(super) async fn catalogue(folder: &Folder, profile: &Path) -> anyhow::Result<Catalogue> {
    let path = |path: &Path| path.display().to_string();
    let (out, registry, profile) = (path(&folder.catalogue()), path(&folder.registry()), path(profile));
    let words = ["registry", "national", "pull", "--json", "--out", &out, "--profile", &profile];
    let pulled: Value = Process::command("national-pull", words, &folder.logs())?.done(&[0]).await?;
    let from = DAY.to_string();
    let words = ["registry", "national", "diff", "--json", "--from", &from, &out, &registry];
    let compared: Value = Process::command("national-diff", words, &folder.logs())?.done(&[0]).await?;
    let count = |value: &Value| value.as_u64().context("the catalogue is not counted");
    Ok(Catalogue {
        procedures: count(&pulled["procedures"])?,
        unchanged: count(&compared["unchanged"])?,
        changed: compared["changes"].as_array().context("the catalogue is not compared")?.len() as u64,
    })
}

/// Has the portal's adapter, which is at this address, compare both sides, and send again what is not the same.
///
/// # Errors
/// The command failed, or a side did not answer.
async fn compared(folder: &Folder, adapter: &str) -> anyhow::Result<Compared> {
    let [from, to] = [DAY, DAY.checked_add(1.day())?].map(|day| day.to_string());
    let words =
        ["adapter", "portal", "reconcile", "--repair", "--json", "--from", &from, "--to", &to, "--adapter", adapter];
    // That they differ is an answer.
    let told: Value = Process::command("portal-reconcile", words, &folder.logs())?.done(&[0, 1]).await?;
    let mut compared =
        Compared { dossiers: told["compared"].as_u64().context("no dossiers are counted")?, ..Compared::default() };
    for difference in told["differences"].as_array().context("no differences are told")? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = text(&difference["dossier_code"]);
        if difference["repaired"] == true {
            compared.sent_again.insert(code);
            continue;
        }
        let fields = difference["fields"].as_array().into_iter().flatten().map(|field| text(&field["field"]));
        let fields: Vec<String> = fields.collect();
        compared.differences.insert(code, format!("is {} there: {}", text(&difference["what"]), fields.join(", ")));
    }
    Ok(compared)
}
