//! One event in, what is asked of the host out.
#![allow(clippy::unwrap_used)]

use ostrakon_cloudtrail::{ClientBy, Event, Options, Play, SkipReason, What, map, seconds, tally};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::1:role/deploy";

fn event(name: &str, rest: Value) -> Event {
    let mut record = json!({
        "eventTime": "2023-07-10T11:42:36Z",
        "eventSource": "ec2.amazonaws.com",
        "eventName": name,
        "eventID": "293ba626-3be5-4a26-ab1b-0f4c54f49959",
        "recipientAccountId": "1",
        "requestParameters": {"volumeId": "vol-1"},
    });
    record.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    Event::from_record(record).unwrap()
}

fn play(name: &str, rest: Value) -> Play {
    map(&event(name, rest), &Options::default())
}

/// `what client type name`.
fn brief(play: &Play) -> String {
    let verb = match &play.what {
        What::List { client, data_type } => return format!("list {client} {data_type}"),
        What::Skip(reason) => return format!("skip {}", reason.as_str()),
        What::Read(_) => "read",
        What::Merge { .. } => "merge",
        What::Delete(_) => "delete",
    };
    let object = play.object().unwrap();
    format!("{verb} {} {} {}", object.client, object.data_type, object.name)
}

fn check(name: &str, rest: Value, expected: &str) {
    assert_eq!(brief(&play(name, rest.clone())), expected, "{name} {rest}");
}

#[test]
fn a_write_needs_read_only_false_and_no_error() {
    check("ModifyVolume", json!({"readOnly": false}), "merge 1 ec2/volume vol-1");
    check("ModifyVolume", json!({"readOnly": true}), "read 1 ec2/volume vol-1");
    check("ModifyVolume", json!({"readOnly": false, "errorCode": "AccessDenied"}), "read 1 ec2/volume vol-1");
    check("ModifyVolume", json!({"readOnly": false, "errorCode": null}), "merge 1 ec2/volume vol-1");
    check("DeleteVolume", json!({"readOnly": false, "errorCode": "InUse"}), "read 1 ec2/volume vol-1");
}

#[test]
fn without_read_only_the_verb_decides() {
    for name in ["GetVolume", "ListVolumes", "DescribeVolumes", "HeadVolume", "LookupVolume"] {
        check(name, json!({}), "read 1 ec2/volume vol-1");
    }
    check("ModifyVolume", json!({"readOnly": null}), "merge 1 ec2/volume vol-1");
    check("GetawayVolume", json!({}), "merge 1 ec2/volume vol-1");
    check("GetVolume", json!({"readOnly": false}), "merge 1 ec2/volume vol-1");
}

#[test]
fn only_an_end_of_the_kind_itself_is_a_delete() {
    let with = |request: Value| json!({"requestParameters": request});
    check("DeleteVolume", json!({}), "delete 1 ec2/volume vol-1");
    let instances = with(json!({"instancesSet": {"items": [{"instanceId": "i-1"}]}}));
    check("TerminateInstances", instances, "delete 1 ec2/instance i-1");
    check("DeregisterImage", with(json!({"imageId": "ami-1"})), "delete 1 ec2/image ami-1");
    check("ReleaseHosts", with(json!({"hostId": "h-1"})), "delete 1 ec2/host h-1");
    check("DeleteFunction20150331", with(json!({"functionName": "f"})), "delete 1 ec2/function f");
    let policy = with(json!({"policyName": "p", "roleName": "r"}));
    check("DeleteRolePolicy", policy, "merge 1 ec2/role r");
    check("DeleteRoute", with(json!({"routeTableId": "rtb-1"})), "merge 1 ec2/route-table rtb-1");
    check("DestroyVolume", json!({}), "merge 1 ec2/volume vol-1");
    let arn = with(json!({"policyArn": "arn:aws:iam::1:policy/p"}));
    check("DeletePolicy", arn, "delete 1 iam/policy p");
}

#[test]
fn without_an_object_a_read_lists_and_a_write_is_skipped() {
    let none =
        |read_only: bool, error: Value| json!({"requestParameters": null, "readOnly": read_only, "errorCode": error});
    check("DescribeNetworkAcls", none(true, Value::Null), "list 1 ec2/network-acl");
    check("Decrypt", none(true, Value::Null), "list 1 ec2/decrypt");
    check("CreateVpc", none(false, json!("VpcLimitExceeded")), "list 1 ec2/vpc");
    check("CreateVpc", none(false, Value::Null), "skip no-resource");
}

#[test]
fn the_client_is_the_recipient_then_the_callers_account() {
    let identity = json!({"accountId": "2", "arn": "arn:aws:iam::2:user/u"});
    check("GetVolume", json!({"userIdentity": identity}), "read 1 ec2/volume vol-1");
    check("GetVolume", json!({"userIdentity": identity, "recipientAccountId": null}), "read 2 ec2/volume vol-1");
    let none = json!({"userIdentity": {"arn": "arn:aws:iam::2:user/u"}, "recipientAccountId": ""});
    check("GetVolume", none, "skip no-client");
}

#[test]
fn the_principal_is_issuer_then_arn_then_invoker_then_id() {
    let options = Options { client_by: ClientBy::Principal };
    let mut identity = json!({
        "sessionContext": {"sessionIssuer": {"arn": ROLE}},
        "arn": "arn:aws:sts::1:assumed-role/deploy/s",
        "invokedBy": "autoscaling.amazonaws.com",
        "principalId": "AROA:s",
    });
    for (field, expected) in [
        ("sessionContext", ROLE),
        ("arn", "arn:aws:sts::1:assumed-role/deploy/s"),
        ("invokedBy", "autoscaling.amazonaws.com"),
        ("principalId", "AROA:s"),
    ] {
        let event = event("ModifyVolume", json!({"userIdentity": identity}));
        let (by_account, by_principal) = (map(&event, &Options::default()), map(&event, &options));
        assert_eq!(by_principal.object().unwrap().client, expected);
        assert_eq!(by_principal.principal, expected);
        assert_eq!(by_account.principal, expected);
        let What::Merge { patch, .. } = by_account.what else { panic!("not a merge") };
        assert_eq!(patch["by"], expected);
        identity.as_object_mut().unwrap().remove(field);
    }
    let event = event("ModifyVolume", json!({"userIdentity": identity}));
    assert_eq!(map(&event, &options).what, What::Skip(SkipReason::NoClient));
    assert_eq!(map(&event, &Options::default()).principal, "1");
}

#[test]
fn ids_that_the_host_refuses_are_skipped() {
    let named = |name: String| json!({"requestParameters": {"volumeId": name}});
    check("GetVolume", named("x".repeat(1024)), &format!("read 1 ec2/volume {}", "x".repeat(1024)));
    check("GetVolume", named("x".repeat(1025)), "skip invalid-id");
    check("GetVolume", named("a\u{1f}".to_owned()), "skip invalid-id");
    check("GetVolume", named("a\u{7f}".to_owned()), "skip invalid-id");
    check("GetVolume", named("a\u{80} ü".to_owned()), "read 1 ec2/volume a\u{80} ü");
    check("GetVolume", json!({"recipientAccountId": "1".repeat(257)}), "skip invalid-id");
    check("GetVolume", json!({"eventSource": "s".repeat(122)}), "skip invalid-id");
    check("GetVolume", json!({"eventSource": "s".repeat(121)}), &format!("read 1 {}/volume vol-1", "s".repeat(121)));
    check("GetVolume", json!({"eventSource": ".amazonaws.com"}), "skip invalid-id");
    check("???", json!({"requestParameters": null, "readOnly": true}), "skip invalid-id");
}

#[test]
fn a_merge_says_what_was_called_when_by_whom_and_with_what() {
    let identity = json!({"sessionContext": {"sessionIssuer": {"arn": ROLE}}});
    let play = play("ModifyVolume", json!({"userIdentity": identity}));
    let What::Merge { patch, .. } = play.what else { panic!("not a merge") };
    let expected = format!(
        r#"{{"eventName":"ModifyVolume","eventTime":"2023-07-10T11:42:36Z","by":"{ROLE}","params":{{"volumeId":"vol-1"}}}}"#
    );
    assert_eq!(patch.to_string(), expected);
}

#[test]
fn an_action_id_is_uuid_v7_of_the_time_and_the_event_alone() {
    let id = |name: &str, rest: Value| play(name, rest).action_id;
    let this = id("ModifyVolume", json!({}));
    assert_eq!(format!("{this:032x}"), "01893f9c4fe07bbca83fb810a2444a1a");
    assert_eq!((this >> 76 & 0xf, this >> 62 & 0b11), (7, 0b10));
    assert_eq!(this >> 80, 1_688_989_356_000);
    assert_eq!(this, id("DeleteVolume", json!({"recipientAccountId": "2"})));
    assert_ne!(this, id("ModifyVolume", json!({"eventID": "other"})));
    let later = id("ModifyVolume", json!({"eventTime": "2023-07-10T13:42:36.001+02:00"}));
    assert_eq!(later - this, 1 << 80);
}

#[test]
fn seconds_hold_what_may_run_concurrently() {
    let times = ["36Z", "36.5Z", "37Z", "38Z", "38Z"];
    let at = |time: &&str| play("GetVolume", json!({"eventTime": format!("2023-07-10T11:42:{time}")}));
    let plays: Vec<Play> = times.iter().map(at).collect();
    let sizes: Vec<usize> = seconds(&plays).map(<[Play]>::len).collect();
    assert_eq!(sizes, [2, 1, 2]);
}

#[test]
fn a_tally_counts_every_event_once_and_every_named_object() {
    let none = json!({"requestParameters": null});
    let plays = [
        play("CreateVolume", json!({})),
        play("ModifyVolume", json!({"readOnly": false, "errorCode": "X"})),
        play("DeleteVolume", json!({})),
        play("GetVolume", json!({"requestParameters": {"volumeId": "vol-2"}})),
        play("GetVolume", json!({"recipientAccountId": "2"})),
        play("DescribeVolumes", none.clone()),
        play("CreateVolume", none),
        play("CreateVolume", json!({"recipientAccountId": null})),
    ];
    let json = serde_json::to_string(&tally(&plays)).unwrap();
    let expected = r#"{"events":8,"reads":3,"lists":1,"merges":1,"deletes":1,"skipped":{"no-client":1,"no-resource":1},"objects":3}"#;
    assert_eq!(json, expected);
}
