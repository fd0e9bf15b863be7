//! Which object an event is about.
//!
//! 1. `resources[].ARN`: the first of the event's own service, else the first that is an ARN.
//! 2. Else the texts of `requestParameters`, then of `responseElements`, in document order, that *name* something: the key
//!    ends in `Id`, `Name` or `Identifier`, or is `name` or `bucket`, or the value is an ARN. Of these the first whose
//!    key's stem begins the event's noun (`volumeId` and `ModifyVolume`), else the first of all.
//!
//! As the rules are read here:
//!
//! - A key is compared with its first letter's case set aside, so `id`, `identifier`, `Name` and `Bucket` count. A text in an
//!   array has the array's key. An empty text names nothing.
//! - The stem is the key without that ending (for an ARN also without `Arn`, `Arns`, `ARN`); `name`, `id` and `arn` have no
//!   stem, and no stem begins nothing. `bucket` is its own stem.
//! - Nothing *inside* a value whose key has the word filter(s), tag(s) or tagging (`filterSet`, `parameterFilters`, `tagSet`,
//!   `tagSpecificationSet`, `Tagging`) counts, unless that key is only the request's wrapper (`CreateTagsRequest`). A key
//!   such as `filterName` itself does count: it names a filter.
//! - `requestId` ends in `Id`: a write whose answer holds nothing else is about that.
//! - The type's service is the ARN's when an ARN is what names the object, else the event's.

use serde_json::Value;

use crate::{arn::Arn, event::Event, words};

/// What an event is about, before the host's bounds are applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) service: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

struct Candidate<'a> {
    stem: &'a str,
    value: &'a str,
}

/// The service that `eventSource` names.
pub(crate) fn service(event: &Event) -> &str {
    event.source.strip_suffix(".amazonaws.com").unwrap_or(&event.source)
}

/// The kind that the event's own name gives: its noun, or all of it when there is none.
pub(crate) fn noun_kind(event: &Event) -> String {
    let (_, noun) = words::verb_and_noun(&event.name);
    let kind = words::kind(noun);
    if kind.is_empty() { words::kind(&event.name) } else { kind }
}

/// The object of `event`; `None` when nothing in it names one.
pub(crate) fn target(event: &Event) -> Option<Target> {
    if let Some(arn) = resource(event) {
        return Some(from_arn(event, arn, ""));
    }
    let mut candidates = Vec::new();
    for tree in [&event.request, &event.response] {
        collect(tree, "", &event.name, &mut candidates);
    }
    let (_, noun) = words::verb_and_noun(&event.name);
    let chosen = candidates.iter().find(|candidate| words::begins(candidate.stem, noun)).or(candidates.first())?;
    Some(match Arn::parse(chosen.value) {
        Some(arn) => from_arn(event, arn, chosen.stem),
        None => Target {
            service: service(event).to_owned(),
            kind: stem_kind(event, chosen.stem),
            name: chosen.value.to_owned(),
        },
    })
}

fn resource(event: &Event) -> Option<Arn<'_>> {
    let mut arns = event.resource_arns.iter().filter_map(|arn| Arn::parse(arn));
    let first = arns.next()?;
    if first.service == service(event) {
        return Some(first);
    }
    let own = arns.find(|arn| arn.service == service(event));
    Some(own.unwrap_or(first))
}

fn from_arn(event: &Event, arn: Arn<'_>, stem: &str) -> Target {
    Target { service: arn.service.to_owned(), kind: arn.kind.unwrap_or_else(|| stem_kind(event, stem)), name: arn.name }
}

fn stem_kind(event: &Event, stem: &str) -> String {
    let kind = words::kind(stem);
    if kind.is_empty() { noun_kind(event) } else { kind }
}

fn collect<'a>(value: &'a Value, key: &'a str, event_name: &str, found: &mut Vec<Candidate<'a>>) {
    match value {
        Value::String(text) if !text.is_empty() => {
            let stem = match Arn::parse(text) {
                Some(_) => Some(arn_stem(key)),
                None => naming_stem(key),
            };
            found.extend(stem.map(|stem| Candidate { stem, value: text }));
        }
        Value::Array(_) | Value::Object(_) if is_filter_or_tag(key, event_name) => {}
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, event_name, found)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(value, key, event_name, found)),
        _ => {}
    }
}

/// The stem of a key that names something; `None` for any other key.
fn naming_stem(key: &str) -> Option<&str> {
    match key {
        "name" | "id" | "identifier" => Some(""),
        "bucket" | "Bucket" => Some(key),
        _ => ["Identifier", "Name", "Id"].iter().find_map(|end| key.strip_suffix(end)),
    }
}

fn arn_stem(key: &str) -> &str {
    if ["arn", "aRN", "arns"].contains(&key) {
        return "";
    }
    let ended = ["Arns", "Arn", "ARN"].iter().find_map(|end| key.strip_suffix(end));
    ended.or_else(|| naming_stem(key)).unwrap_or(key)
}

fn is_filter_or_tag(key: &str, event_name: &str) -> bool {
    let wrapper = key.strip_prefix(event_name).is_some_and(|end| end == "Request" || end == "Response");
    let container = |word: &String| ["filter", "filters", "tag", "tags", "tagging"].contains(&word.as_str());
    !wrapper && words::words(key).iter().any(container)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(source: &str, name: &str, rest: Value, expected: Option<&str>) {
        let mut record = json!({
            "eventTime": "2023-07-10T11:42:36Z",
            "eventSource": format!("{source}.amazonaws.com"),
            "eventName": name,
        });
        let fields = rest.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(fields);
        let event = Event::from_record(record).unwrap();
        let found = target(&event).map(|t| format!("{}/{} {}", t.service, t.kind, t.name));
        assert_eq!(found.as_deref(), expected, "{name}");
    }

    fn request(source: &str, name: &str, request: Value, expected: Option<&str>) {
        check(source, name, json!({"requestParameters": request}), expected);
    }

    #[test]
    fn a_resource_of_the_own_service_goes_before_an_earlier_one() {
        let both = json!([
            {"ARN": "arn:aws:ec2:r:1:instance/i-1"},
            {"ARN": "arn:aws:ssm:r:1:association/a-1"},
        ]);
        let name = "UpdateInstanceAssociationStatus";
        check("ssm", name, json!({"resources": both}), Some("ssm/association a-1"));
        let other = json!({"resources": [{"ARN": "arn:aws:ec2:r:1:instance/i-1"}, {"ARN": "arn:aws:iam::1:role/r"}]});
        check("ssm", name, other, Some("ec2/instance i-1"));
        let none = json!({"resources": [{"ARN": "*"}, {"accountId": "1"}], "requestParameters": {"instanceId": "i-2"}});
        check("ssm", name, none, Some("ssm/instance i-2"));
    }

    #[test]
    fn an_arn_and_a_bare_name_are_one_object() {
        let expected = Some("s3/bucket x");
        check("s3", "PutBucketPolicy", json!({"resources": [{"ARN": "arn:aws:s3:::x"}]}), expected);
        request("s3", "CreateBucket", json!({"bucketName": "x"}), expected);
        request("s3", "ListAccessPoints", json!({"bucket": "x"}), expected);
        request("ssm", "GetParameter", json!({"name": "/a/b"}), Some("ssm/parameter /a/b"));
        let arn = json!({"resources": [{"ARN": "arn:aws:ssm:r:1:parameter/a/b"}]});
        check("ssm", "GetParameter", arn, Some("ssm/parameter /a/b"));
    }

    #[test]
    fn the_stem_that_begins_the_noun_goes_before_the_first() {
        request(
            "iam",
            "DetachUserPolicy",
            json!({"policyArn": "arn:aws:iam::aws:policy/P", "userName": "u"}),
            Some("iam/user u"),
        );
        request("ec2", "AttachVolume", json!({"instanceId": "i-1", "volumeId": "vol-1"}), Some("ec2/volume vol-1"));
        let created = json!({
            "requestParameters": {"vpcId": "vpc-1"},
            "responseElements": {"requestId": "r", "subnet": {"subnetId": "subnet-1", "vpcId": "vpc-1"}},
        });
        check("ec2", "CreateSubnet", created, Some("ec2/subnet subnet-1"));
        request(
            "ec2",
            "CreateRoute",
            json!({"routeTableId": "rtb-1", "gatewayId": "igw-1"}),
            Some("ec2/route-table rtb-1"),
        );
        request(
            "ec2",
            "TerminateInstances",
            json!({"instancesSet": {"items": [{"instanceId": "i-1"}]}}),
            Some("ec2/instance i-1"),
        );
        request(
            "rds",
            "CreateDBSnapshot",
            json!({"dBInstanceIdentifier": "a", "dBSnapshotIdentifier": "b"}),
            Some("rds/db-snapshot b"),
        );
    }

    #[test]
    fn a_key_without_a_stem_takes_the_noun_for_its_kind() {
        request("cloudtrail", "DeleteTrail", json!({"name": "t"}), Some("cloudtrail/trail t"));
        request("cloudtrail", "StartLogging", json!({"name": "t"}), Some("cloudtrail/logging t"));
        request("route53", "GetHostedZone", json!({"id": "Z1"}), Some("route53/hosted-zone Z1"));
        request("lambda", "GetFunction20150331v2", json!({"Name": "f"}), Some("lambda/function f"));
    }

    #[test]
    fn an_arn_of_another_service_keeps_its_service() {
        let role = json!({"description": "", "role": "arn:aws:iam::1:role/service-role/r", "runtime": "x"});
        request("lambda", "UpdateSomething", role, Some("iam/role r"));
        request("iam", "GetRoot", json!({"rootArn": "arn:aws:iam::1:root"}), Some("iam/root root"));
    }

    #[test]
    fn nothing_under_filters_or_tags_names_an_object() {
        for under in [
            json!({"filterSet": {"items": [{"name": "vpc-id"}]}}),
            json!({"parameterFilters": [{"name": "Name"}]}),
            json!({"DescribeXsRequest": {"Filter": {"Name": "vpc-id"}}}),
            json!({"tagSpecificationSet": {"items": [{"resourceId": "x"}]}}),
            json!({"tags": ["arn:aws:s3:::x"]}),
            json!({"Tagging": {"TagSet": {"Tag": {"bucket": "x"}}}}),
        ] {
            request("ec2", "DescribeXs", under, None);
        }
        request("logs", "DeleteMetricFilter", json!({"filterName": "f"}), Some("logs/filter f"));
        request("ec2", "CreateTags", json!({"CreateTagsRequest": {"ResourceId": "i-1"}}), Some("ec2/resource i-1"));
        request("app", "SetStage", json!({"stageSet": {"stageName": "s"}}), Some("app/stage s"));
    }

    #[test]
    fn other_keys_numbers_and_empty_texts_name_nothing() {
        request(
            "ec2",
            "CreateX",
            json!({"zone": "z", "subnetIds": ["s-1"], "countId": 3, "vpcId": "", "uuid": "u"}),
            None,
        );
        check("ec2", "CreateX", json!({"requestParameters": "plain", "responseElements": [1]}), None);
    }
}
