//! The rounds: who ends the host when, and what is held against what.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::{ActionId, Client, ClientConfig, Code, Error, HostFile, Revision, SettleEscalation, SettleHow};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::model::{self, Stands, Wrong};
use super::shim::{EXIT_CUT, Shim};
use super::writers::{CONNECTIONS, CONTENDED, OBJECTS, Outcome, Told, ask, ask_ticket, read, writers};
use super::{End, Plan, Tally};
use crate::host::{Host, Process};
use crate::load::{self, Random};

/// Few enough that the log is cut at its start now and then.
const ACTION_IDS: &str = "20000";
/// The same, a little later.
const LOG_CHANGES: &str = "30000";
/// Settings of the reconciliation policy: what contradicts another change is escalated.
const SETTINGS: &str = "escalate.json";
/// The longest that writers write before the host is ended.
const WRITING_MS: u64 = 1_200;
/// The same in a heavy round: enough that shards are flushed meanwhile.
const WRITING_HEAVY_MS: u64 = 4_000;
/// One round of so many is heavy.
const HEAVY_EVERY: u64 = 5;
/// The longest that a host may open its folder before it is ended.
const OPENING_MS: u64 = 150;
/// How often at most a host is ended while it opens the folder, a round.
const ENDS_IN_OPEN_MAX: u32 = 3;
/// How long a host may take to end once its power is cut.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// How long anything may take that is asked of a host between its ends.
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);
/// Acknowledged actions that are asked for again, a writer: its last ones.
const REPEATED: usize = 3;

/// A folder, and the hosts that run on it one after the other.
pub(super) struct Rounds<'a> {
    plan: &'a Plan,
    runtime: Runtime,
    random: Random,
    folder: TempDir,
    shim: Option<Shim>,
    host: Option<Host>,
    /// What stood when it was looked at last.
    stands: Vec<Stands>,
}

impl<'a> Rounds<'a> {
    pub(super) fn begin(plan: &'a Plan) -> anyhow::Result<Self> {
        let (folder, shim) = fresh(plan)?;
        let mut random = Random::seeded(plan.seed.wrapping_add(1));
        // The first numbers of neighbouring seeds are alike.
        for _ in 0..16 {
            random.next();
        }
        let stands = vec![Stands::default(); OBJECTS];
        Ok(Self { plan, runtime: load::runtime()?, random, folder, shim, host: None, stands })
    }

    /// Plays one round.
    pub(super) fn play(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let Some(host) = self.served(tally)? else { return Ok(()) };
        let told = self.write_until_end(host, tally)?;
        let checked = self.random.below(2) == 0;
        if checked && !self.check(tally)? {
            return self.begin_anew();
        }
        for _ in 0..ENDS_IN_OPEN_MAX {
            if self.random.below(3) > 0 {
                break;
            }
            tally.ends_in_open += 1;
            let mut process = self.spawn()?;
            std::thread::sleep(Duration::from_millis(self.random.below(OPENING_MS)));
            self.end_process(&mut process, tally)?;
        }
        let Some(host) = self.served(tally)? else { return Ok(()) };
        let mut settling = Settling { stands: &mut self.stands, tally };
        let settled = self.runtime.block_on(async {
            let client = client(&host.file).await?;
            tokio::time::timeout(SETTLE_DEADLINE, settling.settle(&client, told)).await?
        });
        settled?;
        if checked && self.random.below(4) > 0 {
            self.host = Some(host);
            return Ok(());
        }
        host.stop()?;
        if !self.check(tally)? {
            self.begin_anew()?;
        }
        Ok(())
    }

    /// Stops the host, and checks once more.
    pub(super) fn end(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        if let Some(host) = self.host.take() {
            host.stop()?;
            self.check(tally)?;
        }
        tally.journals = last_journal(&self.folder.path().join("data/store"));
        Ok(())
    }

    /// The serving host; started unless there is one. `None` where it refuses the folder, and the next has a new one.
    fn served(&mut self, tally: &mut Tally) -> anyhow::Result<Option<Host>> {
        if let Some(host) = self.host.take() {
            return Ok(Some(host));
        }
        match self.spawn()?.ready() {
            Ok(host) => Ok(Some(host)),
            Err(error) => {
                tally.refused += 1;
                tally.wrong(error.to_string());
                self.begin_anew()?;
                Ok(None)
            }
        }
    }

    /// Goes on with an empty folder; the one that was refused is kept for whoever wants to know.
    fn begin_anew(&mut self) -> anyhow::Result<()> {
        let (folder, shim) = fresh(self.plan)?;
        let refused = std::mem::replace(&mut self.folder, folder);
        eprintln!("the refused folder is kept: {}", refused.keep().display());
        self.shim = shim;
        self.stands = vec![Stands::default(); OBJECTS];
        Ok(())
    }

    fn spawn(&self) -> anyhow::Result<Process> {
        let mut variables = match &self.shim {
            Some(shim) => shim.variables()?,
            None => Vec::new(),
        };
        if let Some(fault) = self.plan.fault {
            variables.push(("OSTRAKON_PLANTED_FAULT", fault.name().into()));
        }
        let settings = format!("reconciliation={}", self.folder.path().join(SETTINGS).display());
        let arguments = ["--action-ids", ACTION_IDS, "--log-changes", LOG_CHANGES, "--policy-settings", &settings];
        Process::spawn(&self.plan.binary, self.folder.path(), &arguments, &variables)
    }

    /// Ends a host without a warning, in the way of the plan.
    fn end_process(&mut self, process: &mut Process, tally: &mut Tally) -> anyhow::Result<()> {
        let Some(shim) = &self.shim else {
            process.kill();
            return Ok(());
        };
        let seed = self.random.next();
        let undone = shim.cut((self.plan.end == End::Torn).then_some(seed));
        let undone = undone.with_context(|| format!("the power cannot be cut: {}", process.words()))?;
        let code = process.ended(END_DEADLINE)?;
        ensure!(code == Some(EXIT_CUT), "the cut failed ({code:?}): {}", process.words());
        tally.undone.writes += undone.writes;
        tally.undone.pages += undone.pages;
        tally.undone.names += undone.names;
        Ok(())
    }

    /// Lets all write, and ends the host at a drawn moment.
    fn write_until_end(&mut self, mut host: Host, tally: &mut Tally) -> anyhow::Result<Vec<Vec<Told>>> {
        let (gone, going) = watch::channel(false);
        let file = host.file.clone();
        let heavy = self.random.below(HEAVY_EVERY) == 0;
        let mut writing = JoinSet::new();
        self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(client(&file).await?);
            }
            for writer in writers(&clients, &self.stands, heavy, &mut self.random) {
                writing.spawn(writer.run(going.clone()));
            }
            anyhow::Ok(())
        })?;
        std::thread::sleep(Duration::from_millis(self.random.below(if heavy { WRITING_HEAVY_MS } else { WRITING_MS })));
        self.end_process(host.process(), tally)?;
        gone.send_replace(true);
        let all = self.runtime.block_on(async {
            let mut all = Vec::new();
            while let Some(told) = writing.join_next().await {
                all.push(told??);
            }
            anyhow::Ok(all)
        })?;
        for told in all.iter().flatten() {
            match told.outcome {
                Outcome::Done { .. } => tally.acked += 1,
                Outcome::Pending => tally.tickets += 1,
                Outcome::Escalated(_) => tally.escalated += 1,
                Outcome::Refused(_) | Outcome::Unknown => {}
            }
        }
        Ok(all)
    }

    /// Looks at the folder with `ostrakon check`; `false` where it cannot be looked at.
    fn check(&self, tally: &mut Tally) -> anyhow::Result<bool> {
        let ran = Command::new(&self.plan.binary)
            .args(["check", "--json", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .output()?;
        let said: Value = serde_json::from_slice(&ran.stdout)
            .with_context(|| format!("check says {:?}", String::from_utf8_lossy(&ran.stdout)))?;
        let Some(findings) = said["findings_total"].as_u64() else {
            tally.refused += 1;
            tally.wrong(format!("check refuses the folder: {said}"));
            return Ok(false);
        };
        ensure!(ran.status.success() == (findings == 0), "check ends with {} after {findings} findings", ran.status);
        for found in said["findings"].as_array().into_iter().flatten() {
            tally.wrong(format!("check: {}", found["message"]));
        }
        // History was never longer than it is now.
        let short = said["short_histories"].as_u64().unwrap_or_default();
        if short > 0 {
            tally.wrong(format!("check: {short} histories are too short"));
        }
        tally.torn += findings + short;
        Ok(true)
    }
}

fn fresh(plan: &Plan) -> anyhow::Result<(TempDir, Option<Shim>)> {
    let folder = tempfile::Builder::new().prefix("ostrakon-crash-").tempdir()?;
    std::fs::write(folder.path().join(SETTINGS), r#"{"on-overlap": "escalate"}"#)?;
    let shim = match plan.end {
        End::Kill => None,
        End::Cut | End::Torn => Some(Shim::compile(folder.path())?),
    };
    Ok((folder, shim))
}

fn last_journal(store: &Path) -> u64 {
    let names = std::fs::read_dir(store).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
    numbers.max().unwrap_or_default()
}

async fn client(file: &HostFile) -> anyhow::Result<Client> {
    let config = ClientConfig::of_host(file).context("a development host names its certificates")?;
    Ok(Client::connect(config).await?)
}

/// After a start: what was told is held against what stands.
struct Settling<'a> {
    stands: &'a mut Vec<Stands>,
    tally: &'a mut Tally,
}

impl Settling<'_> {
    async fn settle(&mut self, client: &Client, told: Vec<Vec<Told>>) -> anyhow::Result<()> {
        let mut before = Vec::with_capacity(OBJECTS);
        for index in 0..OBJECTS {
            let (stands, whole) = read(client, index).await?;
            if !whole {
                self.tally.torn += 1;
                self.tally.wrong(format!("object {index} holds what nobody wrote whole"));
            }
            before.push(stands.version);
        }
        let mut effects = vec![Vec::new(); OBJECTS];
        for writer in told {
            let first_repeated = writer.len().saturating_sub(REPEATED);
            for (place, told) in writer.into_iter().enumerate() {
                let made = self.outcome(client, &told, before[told.object], place >= first_repeated).await?;
                effects[told.object].extend(made.into_iter().map(|version| (version, told.effect.clone())));
            }
        }
        for (index, effects) in effects.iter().enumerate() {
            let (stands, _) = read(client, index).await?;
            for wrong in model::hold(&self.stands[index], effects, &stands) {
                let (count, words) = match wrong {
                    Wrong::Duplicated(words) => (&mut self.tally.duplicated, words),
                    Wrong::Changed(words) => (&mut self.tally.lost, words),
                };
                *count += 1;
                self.tally.wrong(format!("object {index}: {words}"));
            }
            self.stands[index] = stands;
        }
        Ok(())
    }

    /// The versions that an action is known to have made.
    async fn outcome(&mut self, client: &Client, told: &Told, stood: u64, ask_again: bool) -> anyhow::Result<Vec<u64>> {
        let object = told.object;
        let id = told.id;
        match told.outcome {
            Outcome::Done { version, .. } if version > stood => {
                self.tally.lost += 1;
                self.tally.wrong(format!("object {object}: version {version} was acknowledged, {stood} stands"));
                Ok(Vec::new())
            }
            Outcome::Done { version, .. } if !ask_again => Ok(vec![version]),
            Outcome::Done { version, .. } => match ask(client, &told.operation).await? {
                Outcome::Done { version: again, repeated } if again == version && repeated => Ok(vec![version]),
                Outcome::Done { version: again, .. } => {
                    self.tally.duplicated += 1;
                    self.tally.wrong(format!("object {object}: {id} made version {version}, then {again}"));
                    Ok(vec![version, again])
                }
                other => {
                    self.tally.lost += 1;
                    self.tally.wrong(format!("object {object}: {id} made version {version}, then {other:?}"));
                    Ok(vec![version])
                }
            },
            Outcome::Refused(code) => {
                if object < OBJECTS - CONTENDED {
                    self.tally.lost += 1;
                    self.tally.wrong(format!("object {object} has moved on by itself: {code:?}"));
                }
                Ok(Vec::new())
            }
            Outcome::Escalated(number) => {
                self.hold_escalation(client, object, id, number).await?;
                Ok(Vec::new())
            }
            Outcome::Pending => match ask_ticket(client, id).await? {
                Outcome::Done { version, .. } => Ok(vec![version]),
                Outcome::Escalated(number) => {
                    self.hold_escalation(client, object, id, number).await?;
                    Ok(Vec::new())
                }
                Outcome::Refused(Code::UnknownTicket) => {
                    self.tally.lost += 1;
                    self.tally.wrong(format!("object {object}: the ticket {id} was acknowledged, and is not known"));
                    Ok(Vec::new())
                }
                Outcome::Refused(_) => Ok(Vec::new()),
                Outcome::Unknown | Outcome::Pending => bail!("a host that serves does not answer"),
            },
            Outcome::Unknown => match self.ask_to_the_end(client, told).await? {
                Outcome::Done { version, repeated } => {
                    let count = if repeated { &mut self.tally.unknown_done } else { &mut self.tally.unknown_not_done };
                    *count += 1;
                    Ok(vec![version])
                }
                Outcome::Refused(Code::ActionExpired | Code::ActionIdReused) => {
                    self.tally.lost += 1;
                    self.tally.wrong(format!("object {object}: {id} is new, and refused as if it were old"));
                    Ok(Vec::new())
                }
                Outcome::Refused(_) => {
                    self.tally.unknown_not_done += 1;
                    Ok(Vec::new())
                }
                Outcome::Escalated(number) => {
                    self.hold_escalation(client, object, id, number).await?;
                    self.tally.unknown_not_done += 1;
                    Ok(Vec::new())
                }
                Outcome::Unknown | Outcome::Pending => bail!("a host that serves does not answer"),
            },
        }
    }

    /// Asks for an action again; where it is detached, for its end.
    async fn ask_to_the_end(&self, client: &Client, told: &Told) -> anyhow::Result<Outcome> {
        match ask(client, &told.operation).await? {
            Outcome::Pending => ask_ticket(client, told.id).await,
            outcome => Ok(outcome),
        }
    }

    /// An escalation that was acknowledged is there. It is discarded then: only so many may be open.
    async fn hold_escalation(
        &mut self,
        client: &Client,
        object: usize,
        id: ActionId,
        number: Revision,
    ) -> anyhow::Result<()> {
        match client.escalation(number).await {
            Ok(found) if found.action_id == Some(id) && found.settled.is_some() => Ok(()),
            Ok(found) if found.action_id == Some(id) => {
                let (by, reason) = ("crash".to_owned(), "it was there".to_owned());
                let how = SettleHow::Discard;
                let settle = SettleEscalation { escalation: number, how, payload: None, by, reason };
                match client.settle(settle).await {
                    Ok(_) => Ok(()),
                    // It was discarded before, and that cannot be seen: the host has told what was not durable.
                    Err(Error::Refused(error)) => {
                        self.tally.lost += 1;
                        self.tally.wrong(format!("object {object}: escalation {number}: {}", error.message));
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Ok(_) | Err(Error::Refused(_)) => {
                self.tally.lost += 1;
                self.tally.wrong(format!("object {object}: {id} was escalated as {number}, which is not there"));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
