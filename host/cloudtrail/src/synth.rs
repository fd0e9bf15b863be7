//! Made-up CloudTrail records, for whoever has no trace at hand: the same seed and count give the same records.
//!
//! Six accounts with five principals each work for some minutes on a few things that everybody touches and on many that
//! come and go. What makes it worth playing: several principals look at one hot thing and then change it in the same second,
//! so that writes meet versions that their principal has not seen.

use serde_json::{Value, json};

use crate::{
    calls::{Call, Kind, Thing, list},
    event::Event,
};

/// The first record's time: 2024-05-13 09:00:00 UTC.
const START_UNIX_S: i64 = 1_715_590_800;
/// Events in one second, on average.
const EVENTS_PER_SECOND: usize = 12;
/// Bounds of what has come into being and not ended, by account.
const COLD_MAX: usize = 24;

const ACCOUNTS: [&str; 6] =
    ["210987654321", "345678901234", "456789012345", "567890123456", "678901234567", "789012345678"];
const FAILURES: [&str; 3] = ["ThrottlingException", "AccessDenied", "Client.UnauthorizedOperation"];
const PRINCIPALS: u64 = 5;

/// Exactly `events` records of control-plane traffic, ordered by time.
pub fn generate(seed: u64, events: usize) -> Vec<Value> {
    let mut town = Town::new(seed);
    while town.records.len() < events {
        town.second = (town.records.len() / EVENTS_PER_SECOND) as i64;
        town.episode();
    }
    town.records.truncate(events);
    town.records
}

/// [`generate`], as events.
pub fn sample(seed: u64, events: usize) -> Vec<Event> {
    let checked = |record| Event::from_record(record).expect("made-up records have every field");
    generate(seed, events).into_iter().map(checked).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

struct Account {
    id: &'static str,
    hot: Vec<Thing>,
    cold: Vec<Thing>,
}

struct Town {
    random: Random,
    accounts: Vec<Account>,
    second: i64,
    records: Vec<Value>,
}

impl Town {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut account = |id| {
            let hot = Kind::ALL.map(|kind| Thing { kind, name: kind.name(random.next()) });
            Account { id, hot: hot.into(), cold: Vec::new() }
        };
        let accounts = ACCOUNTS.map(&mut account).into();
        let (second, records) = (0, Vec::new());
        let mut town = Self { random, accounts, second, records };
        for account in 0..ACCOUNTS.len() {
            for thing in town.accounts[account].hot.clone() {
                town.record(account, 0, thing.create(), None);
            }
        }
        town
    }

    fn episode(&mut self) {
        let account = self.random.below(ACCOUNTS.len() as u64) as usize;
        let who = self.random.below(PRINCIPALS);
        match self.random.below(100) {
            0..=17 => self.contention(account),
            18..=41 => {
                let call = self.thing(account).look();
                self.record(account, who, call, None);
            }
            42..=51 => {
                let kind = *self.random.pick(&Kind::ALL);
                self.record(account, who, list(kind), None);
            }
            52..=60 => {
                let call = self.changed(account);
                let failure = *self.random.pick(&FAILURES);
                self.record(account, who, call, Some(failure));
            }
            61..=82 => self.birth(account, who),
            _ => self.death(account, who),
        }
    }

    /// Several principals look at one hot thing, then each changes it, all within a second.
    fn contention(&mut self, account: usize) {
        let thing = self.random.pick(&self.accounts[account].hot).clone();
        let (first, others) = (self.random.below(PRINCIPALS), 2 + self.random.below(3));
        let crowd = (first..first + others).map(|who| who % PRINCIPALS);
        for who in crowd.clone() {
            self.record(account, who, thing.look(), None);
        }
        for who in crowd {
            let call = thing.change(self.random.next(), self.random.next());
            self.record(account, who, call, None);
        }
    }

    fn birth(&mut self, account: usize, who: u64) {
        let kind = *self.random.pick(&Kind::ALL);
        let thing = Thing { kind, name: kind.name(self.random.next()) };
        self.record(account, who, thing.create(), None);
        self.accounts[account].cold.push(thing);
        if self.accounts[account].cold.len() > COLD_MAX {
            self.death(account, who);
        }
    }

    fn death(&mut self, account: usize, who: u64) {
        let cold = &mut self.accounts[account].cold;
        if cold.is_empty() {
            return self.birth(account, who);
        }
        let which = self.random.below(cold.len() as u64) as usize;
        let call = cold.swap_remove(which).end();
        self.record(account, who, call, None);
    }

    fn thing(&mut self, account: usize) -> Thing {
        let account = &self.accounts[account];
        let cold = !account.cold.is_empty() && self.random.below(2) == 0;
        let things = if cold { &account.cold } else { &account.hot };
        self.random.pick(things).clone()
    }

    fn changed(&mut self, account: usize) -> Call {
        let thing = self.thing(account);
        thing.change(self.random.next(), self.random.next())
    }

    fn record(&mut self, account: usize, who: u64, call: Call, error: Option<&str>) {
        let account = self.accounts[account].id;
        let (high, low) = (self.random.next(), self.random.next());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        );
        let mut record = json!({
            "eventVersion": "1.08",
            "userIdentity": identity(account, who),
            "eventTime": time_text(self.second),
            "eventSource": format!("{}.amazonaws.com", call.service),
            "eventName": call.name,
            "awsRegion": "us-east-1",
            "requestParameters": call.request,
            "responseElements": if error.is_none() { call.response } else { Value::Null },
            "eventID": id,
            "readOnly": call.read_only,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": account,
            "eventCategory": "Management",
        });
        if let Some(error) = error {
            record["errorCode"] = json!(error);
        } else if let Some(resource) = call.resource {
            let arn = format!("arn:aws:{}", resource.replace("ACCOUNT", account));
            record["resources"] = json!([{"accountId": account, "ARN": arn}]);
        }
        self.records.push(record);
    }
}

fn identity(account: &str, who: u64) -> Value {
    let role = |name: &str| {
        let issuer = format!("arn:aws:iam::{account}:role/{name}");
        json!({
            "type": "AssumedRole",
            "principalId": format!("AROA{account}:{name}"),
            "arn": format!("arn:aws:sts::{account}:assumed-role/{name}/session"),
            "accountId": account,
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": issuer, "accountId": account, "userName": name}},
        })
    };
    match who {
        0 => role("deploy-pipeline"),
        1 => role("config-sync"),
        2 => json!({"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"}),
        _ => {
            let user = if who == 3 { "amara" } else { "ravi" };
            let arn = format!("arn:aws:iam::{account}:user/{user}");
            json!({"type": "IAMUser", "principalId": format!("AIDA{account}{user}"), "arn": arn, "accountId": account, "userName": user})
        }
    }
}

fn time_text(second: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(START_UNIX_S + second).expect("within the years of a trace");
    let text = time.format(&time::format_description::well_known::Rfc3339);
    text.expect("RFC 3339 holds these years")
}
