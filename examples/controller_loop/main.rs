//! A controller: for every `spec` object it keeps a `status` object that says what was made of it.
//!
//! It lists what stands there and watches from the place of the list, so it misses nothing; a change only tells it which
//! object to look at, so doing the same twice does no harm. A host that restarts is waited for.
//!
//! ```text
//! cargo run --release -- serve --dev --data-dir /tmp/ostrakon-dev
//! cargo run -p ostrakon-examples --bin controller_loop -- /tmp/ostrakon-dev
//! ostrakon put acme spec web --data '{"replicas":3}' --data-dir /tmp/ostrakon-dev
//! ```

use std::time::Duration;

use anyhow::Context;
use ostrakon_client::value::Value;
use ostrakon_client::{Client, ClientConfig, Code, Error, Expect, Object, ObjectId, Payload, Told, Watch};

const CLIENT: &str = "acme";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder =
        args.next().context("usage: controller_loop DATA_DIR [STATUS_CHANGES] (of a host that serves --dev)")?;
    let enough = args.next().map(|count| count.parse()).transpose()?.unwrap_or(u64::MAX);
    let client = Client::connect(ClientConfig::from_data_folder(folder)?).await?;
    let mut done = 0;
    while let Err(error) = control(&client, &mut done, enough).await {
        // What was missed meanwhile is in the next list.
        if !error.retryable() && error.code() != Some(Code::PositionExpired) {
            return Err(error.into());
        }
        eprintln!("{error}; listing anew");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    client.close().await;
    Ok(())
}

/// Looks after all specs until there were enough changes of a status.
async fn control(client: &Client, done: &mut u64, enough: u64) -> Result<(), Error> {
    // A status may have outlived its spec while nobody looked.
    let (statuses, _) = client.list_and_watch(names_of("status")).await?;
    let (specs, mut watcher) = client.list_and_watch(names_of("spec")).await?;
    let mut due: Vec<ObjectId> = specs.into_iter().chain(statuses).map(|item| item.object).collect();
    loop {
        for object in due {
            if *done >= enough {
                return Ok(());
            }
            *done += u64::from(reconcile(client, object.name()).await?);
        }
        if *done >= enough {
            return Ok(());
        }
        due = match watcher.next().await? {
            Told::Changes { changes, .. } => changes.into_iter().map(|change| change.object).collect(),
            Told::Bookmark(_) => Vec::new(),
        };
    }
}

fn names_of(data_type: &str) -> Watch {
    Watch { data_type: Some(data_type.into()), with_payloads: false, ..Watch::of_client(CLIENT) }
}

/// Makes the status what the spec asks for; answers whether there was something to do.
async fn reconcile(client: &Client, name: &str) -> Result<bool, Error> {
    let [spec_id, status_id] = ["spec", "status"].map(|data_type| {
        ObjectId::new(CLIENT, data_type, name).expect("the name is that of an object, and short texts are types")
    });
    loop {
        let (spec, status) = (find(client, &spec_id).await?, find(client, &status_id).await?);
        let expect = status.as_ref().map_or(Expect::Absent, |status| Expect::Version(status.version));
        let changed = match (&spec, &status) {
            (None, None) => return Ok(false),
            (None, Some(_)) => client.delete(&status_id, expect).await,
            (Some(spec), status) => {
                let wanted = status_of(spec);
                if status.as_ref().is_some_and(|status| status.payload == wanted) {
                    return Ok(false);
                }
                client.put(&status_id, wanted, expect).await
            }
        };
        match changed {
            Ok(made) => {
                println!("{status_id}: version {}, {}", made.version, if spec.is_some() { "made" } else { "removed" });
                return Ok(true);
            }
            // Another controller was faster.
            Err(error) if matches!(error.code(), Some(Code::Conflict | Code::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn find(client: &Client, object: &ObjectId) -> Result<Option<Object>, Error> {
    match client.read(object).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a real controller would start and stop machines.
fn status_of(spec: &Object) -> Payload {
    let replicas = match spec.payload.value() {
        Some(Value::Map(spec)) => spec.get("replicas").cloned(),
        _ => None,
    };
    let replicas = replicas.filter(|replicas| matches!(replicas, Value::Integer(_))).unwrap_or(Value::Null);
    // A version has 48 bits.
    let spec_version = Value::Integer(spec.version.get() as i64);
    let status = [("spec_version".to_owned(), spec_version), ("replicas".to_owned(), replicas)];
    Payload::from_value(&Value::Map(status.into())).expect("a map of two numbers is a payload")
}
