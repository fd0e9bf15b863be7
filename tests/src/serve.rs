//! Starting a host: what it says, what it keeps, what it refuses.

use std::fs;
use std::net::UdpSocket;

use ostrakon_client::{Client, Expect};
use serde_json::{Value, json};

use crate::harness::{Folder, object, run, shared, structured};

#[test]
fn a_ready_file_does_not_tell_where_the_host_is() {
    let folder = Folder::new();
    let host = folder.serve();
    let file: Value = serde_json::from_slice(&fs::read(folder.beside("ready-0.json")).unwrap()).unwrap();
    let in_data: Value = serde_json::from_slice(&fs::read(host.data().join("host.json")).unwrap()).unwrap();
    assert_eq!(file, in_data);
    assert!(host.file.quic.ip().is_loopback());
    assert_ne!(host.file.quic.port(), 0);
    for part in ["ca", "cert", "key"] {
        assert!(fs::exists(file[part].as_str().unwrap()).unwrap(), "{part}");
    }
    let data = host.data().to_owned();
    host.stop();
    assert!(!data.join("host.json").exists(), "nobody serves this folder any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_remade_over_a_restart() {
    let folder = Folder::new();
    let tls = |folder: &Folder| {
        let files = fs::read_dir(folder.data().join("tls")).unwrap();
        let mut files: Vec<_> =
            files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let first = folder.serve();
    let config = first.config();
    let before = tls(&folder);
    assert_eq!(before.len(), 5);
    first.stop();
    let second = folder.serve();
    assert_eq!(tls(&folder), before);
    let client = Client::connect(ostrakon_client::ClientConfig { server: second.file.quic.to_string(), ..config });
    client.await.unwrap().info().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_takes_over_a_folder_that_is_in_use() {
    let folder = Folder::new();
    let host = folder.serve();
    let refused = folder.refused::<&str>(&[]).exits(1);
    assert!(refused.stderr.contains("in use"), "{refused:?}");
    assert!(refused.stderr.contains(folder.data().to_str().unwrap()), "{refused:?}");
    host.client().await.info().await.unwrap();
    let in_data: Value = serde_json::from_slice(&fs::read(host.data().join("host.json")).unwrap()).unwrap();
    assert_eq!(in_data["pid"], host.file.pid, "the file of the host that serves was overwritten");
}

#[test]
fn a_folder_of_a_later_release_is_opened() {
    let folder = Folder::new();
    folder.serve().stop();
    let path = folder.data().join("FORMAT");
    let text = fs::read_to_string(&path).unwrap();
    let digits = |c: char| c.is_ascii_digit();
    assert!(text.trim_end().ends_with(digits), "{text:?}");
    let title = text.trim_end().trim_end_matches(digits);
    fs::write(&path, format!("{title}4711\n")).unwrap();
    let refused = folder.refused::<&str>(&[]).exits(1);
    assert!(refused.stderr.contains("format 4711"), "{refused:?}");
    assert!(refused.stderr.contains(folder.data().to_str().unwrap()), "{refused:?}");
    fs::write(&path, text).unwrap();
    folder.serve().stop();
}

#[test]
fn files_of_somebody_else_are_taken_over() {
    let check = |name: &str| {
        let folder = Folder::new();
        let file = folder.data().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "years of work").unwrap();
        let refused = folder.refused::<&str>(&[]).exits(1);
        assert!(refused.stderr.contains("no data folder"), "{refused:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "years of work");
        assert_eq!(fs::read_dir(folder.data()).unwrap().count(), 1, "it was left as it is");
    };
    check("store/thesis.txt");
    check("FORMAT");
}

#[test]
fn an_address_that_is_taken_is_not_named() {
    let folder = Folder::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.data();
    let args = ["serve", "--dev", "--listen", &address, "--data-dir", data.to_str().unwrap()];
    let refused = run(None, args).exits(1);
    assert!(refused.stderr.contains(&address), "{refused:?}");
    assert!(!data.join("host.json").exists(), "it does not serve");
}

#[test]
fn flags_that_make_no_sense_do_not_exit_2() {
    let data = Folder::new();
    let data = data.data();
    let data = data.to_str().unwrap();
    let check = |args: &[&str]| drop(run(None, args).exits(2));
    check(&["serve"]);
    check(&["serve", "--dev"]);
    check(&["serve", "--data-dir", data]);
    check(&["serve", "--dev", "--data-dir", data, "--no-such-flag"]);
    check(&["serve", "--dev", "--data-dir", data, "--listen", "nowhere"]);
    check(&["serve", "--dev", "--data-dir", data, "--cert", "a", "--key", "b", "--client-ca", "c"]);
    check(&["serve", "--data-dir", data, "--cert", "a"]);
    check(&["serve", "--dev", "--data-dir", data, "--shards", "3"]);
    check(&["serve", "--dev", "--data-dir", data, "--history", "0"]);
    check(&["serve", "--dev", "--data-dir", data, "--policy", "taste=a.wasm"]);
    check(&["serve", "--dev", "--data-dir", data, "--policy", "shard-key"]);
    check(&["serve", "--dev", "--data-dir", data, "--log", "a=b=c"]);
    check(&["no-such-command"]);
    check(&[]);
    assert!(!fs::exists(data).unwrap(), "a start that cannot be has made a folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_certificates_of_its_own_serves_nobody() {
    let dev = shared();
    let tls = dev.data().join("tls");
    let folder = Folder::new();
    let (data, ready) = (folder.data(), folder.beside("ready.json"));
    let path = |name: &str| tls.join(name).into_os_string();
    let mut child = crate::harness::command([
        "serve".into(),
        "--listen".into(),
        "127.0.0.1:0".into(),
        "--data-dir".into(),
        data.clone().into_os_string(),
        "--ready-file".into(),
        ready.clone().into_os_string(),
        "--cert".into(),
        path("server.pem"),
        "--key".into(),
        path("server.key"),
        "--client-ca".into(),
        path("ca.pem"),
    ])
    .spawn()
    .unwrap();
    let file = crate::harness::until("the host is ready", || fs::read(&ready).ok()).await;
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file.get("key"), None, "its clients' keys are not its to give out");
    assert!(!data.join("tls").exists(), "it makes no certificates");
    let config = ostrakon_client::ClientConfig { server: file["quic"].as_str().unwrap().into(), ..dev.config() };
    let client = Client::connect(config).await.unwrap();
    let object = object("own", "certificates");
    client.put(&object, structured(&json!({})), Expect::Absent).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
