//! Verbs, nouns and kinds: how names such as `CreateDBSnapshot` and `dBInstanceIdentifier` fall into words.
//!
//! - A word begins at a capital after a small letter or digit, and at the last capital of a run before a small letter
//!   (`DBSnapshot` = db, snapshot; `MFADevices` = mfa, devices; `ACLs` = acls). The first letter's case never counts:
//!   CloudTrail writes `dBInstanceIdentifier` for `DBInstanceIdentifier`.
//! - The verb is the first word of the event's name, the noun is the rest, less the API date that some services append
//!   (`AddPermission20150331v2` = Add, Permission).
//! - A kind is kebab case with its last word singular.

use std::ops::Range;

/// The verb and the noun of an event's name; the noun may be empty (`Decrypt`).
pub(crate) fn verb_and_noun(event_name: &str) -> (&str, &str) {
    let name = without_api_date(event_name);
    let spans = spans(name);
    let verb = spans.first().map_or("", |span| &name[span.clone()]);
    let noun = spans.get(1).map_or("", |span| &name[span.start..]);
    (verb, noun)
}

/// Lower-case words of `text`.
pub(crate) fn words(text: &str) -> Vec<String> {
    spans(text).into_iter().map(|span| text[span].to_lowercase()).collect()
}

/// Kebab case, last word singular; empty when `text` holds no letter or digit.
pub(crate) fn kind(text: &str) -> String {
    let mut words = words(text);
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    words.join("-")
}

/// Whether `stem` begins `noun`, letter by letter, whatever the case (`instance` begins `Instances`). An empty stem
/// begins nothing.
pub(crate) fn begins(stem: &str, noun: &str) -> bool {
    let letters = |text: &str| words(text).concat();
    let stem = letters(stem);
    !stem.is_empty() && letters(noun).starts_with(&stem)
}

fn spans(text: &str) -> Vec<Range<usize>> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let upper = |i: usize| chars.get(i).is_some_and(|(_, c)| i == 0 || c.is_uppercase());
    let lower =
        |i: usize| chars.get(i).is_some_and(|(_, c)| c.is_alphanumeric() && !c.is_uppercase() && !c.is_numeric());
    let plural_s = |i: usize| chars.get(i).is_some_and(|(_, c)| *c == 's') && !lower(i + 1);
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut open = false;
    for (i, &(at, c)) in chars.iter().enumerate() {
        let end = at + c.len_utf8();
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let starts = i > 0 && upper(i) && (!upper(i - 1) || (lower(i + 1) && !plural_s(i + 1)));
        match spans.last_mut() {
            Some(span) if open && !starts => span.end = end,
            _ => spans.push(at..end),
        }
        open = true;
    }
    spans
}

fn without_api_date(name: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let dated = match name.rsplit_once('v') {
        Some((dated, version)) if digits(version) => dated,
        _ => name,
    };
    let plain = dated.len().checked_sub(8).and_then(|at| dated.split_at_checked(at)).filter(|(_, date)| digits(date));
    let underscored = || {
        dated.len().checked_sub(10).and_then(|at| dated.split_at_checked(at)).filter(|(_, date)| {
            let parts: Vec<&str> = date.split('_').collect();
            parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.iter().all(|part| digits(part))
        })
    };
    plain.or_else(underscored).map_or(name, |(name, _)| name)
}

/// Words that end in `s` and are one thing all the same.
const SINGULAR_ALREADY: &[&str] = &[
    "alias", "atlas", "aws", "bias", "canvas", "chaos", "dns", "ebs", "ecs", "efs", "eks", "gas", "https", "iops",
    "kms", "lens", "news", "ops", "rds", "redis", "series", "sms", "sns", "species", "sqs", "tls",
];

fn singular(word: &str) -> String {
    let cut = |count: usize, end: &str| format!("{}{end}", &word[..word.len() - count]);
    let ends = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    match word {
        _ if SINGULAR_ALREADY.contains(&word) => word.to_owned(),
        "caches" | "cookies" | "movies" => cut(1, ""),
        "indices" => "index".to_owned(),
        _ if word.len() < 3 || ends(&["ss", "us", "sis", "xis"]) => word.to_owned(),
        _ if word.ends_with("ies") => cut(3, "y"),
        _ if ends(&["sses", "ches", "shes", "xes", "zzes", "aliases", "buses", "statuses"]) => cut(2, ""),
        _ if word.ends_with('s') => cut(1, ""),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_verb_and_noun() {
        for (name, verb, noun) in [
            ("CreateDBSnapshot", "Create", "DBSnapshot"),
            ("AddPermission20150331v2", "Add", "Permission"),
            ("CreateFunction20150331", "Create", "Function"),
            ("GetDistribution2020_05_31", "Get", "Distribution"),
            ("ListMFADevices", "List", "MFADevices"),
            ("Decrypt", "Decrypt", ""),
            ("GetKeyv2", "Get", "Keyv2"),
            ("getThing", "get", "Thing"),
            ("20150331", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(verb_and_noun(name), (verb, noun), "{name}");
        }
    }

    #[test]
    fn kinds_are_singular_kebab_case() {
        for (text, expected) in [
            ("dBInstance", "db-instance"),
            ("DBSubnetGroups", "db-subnet-group"),
            ("s3Bucket", "s3-bucket"),
            ("NetworkACLs", "network-acl"),
            ("SSHPublicKeys", "ssh-public-key"),
            ("RolePolicies", "role-policy"),
            ("Addresses", "address"),
            ("InstanceStatus", "instance-status"),
            ("Aliases", "alias"),
            ("Databases", "database"),
            ("storage-lens", "storage-lens"),
            ("KMS", "kms"),
            ("Batches", "batch"),
            ("Indexes", "index"),
            ("PARAMETER_", "parameter"),
            ("stateMachine", "state-machine"),
            ("vpc", "vpc"),
            ("__", ""),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_stem_begins_a_noun_whatever_the_case() {
        assert!(begins("dBSnapshot", "DBSnapshot"));
        assert!(begins("instance", "Instances"));
        assert!(!begins("routeTable", "Route"));
        assert!(!begins("group", "SecurityGroup"));
        assert!(!begins("", "Trail"));
    }
}
