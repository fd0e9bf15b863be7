//! Kinds and names from ARNs: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
//!
//! The resource is `KIND/NAME` or `KIND:NAME`; its name is the last part, so that an ARN and the bare name of the same
//! thing give one object. In detail:
//!
//! - The first `/` or `:` parts kind from name, and the same sign parts the name: `role/service-role/x` is `x`,
//!   `log-group:/aws/lambda/x` is `/aws/lambda/x`, `secret:app/db-AbCdEf` is `app/db-AbCdEf` (the six letters stay: they are
//!   part of the ARN's last part, and a name may end like that too).
//! - What only qualifies a name is not its last part: `*`, `$LATEST` and bare numbers behind a colon
//!   (`log-group:NAME:*`, `function:NAME:7`).
//! - Where the path *is* the name ([`PATH_NAMED`]) all of it is the last part: `parameter/a/b` is `/a/b`, as in `name`.
//! - Where the ARN holds no kind, [`PLAIN`] knows it; `arn:aws:s3:::x` is a bucket, `arn:aws:s3:::x/k/l` the object `x/k/l`.
//! - Auto Scaling labels its parts: `autoScalingGroup:ID:autoScalingGroupName/x` is `x`.

use crate::words;

/// Kinds by service whose names hold slashes.
const PATH_NAMED: &[(&str, &str)] = &[("ssm", "parameter"), ("ecr", "repository")];

/// Kinds of services whose ARNs hold only a name.
const PLAIN: &[(&str, &str)] =
    &[("s3", "bucket"), ("sns", "topic"), ("sqs", "queue"), ("codecommit", "repository"), ("codepipeline", "pipeline")];

/// One ARN, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    /// The service as the ARN writes it.
    pub(crate) service: &'a str,
    /// Singular kebab case; `None` when the ARN does not say.
    pub(crate) kind: Option<String>,
    /// The last part.
    pub(crate) name: String,
}

impl<'a> Arn<'a> {
    /// `None` when `text` is no ARN.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        let (arn, partition, service) = (fields.next()?, fields.next()?, fields.next()?);
        let (region, account, resource) = (fields.next()?, fields.next()?, fields.next()?);
        let resource = resource.trim_start_matches('/');
        if arn != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
            return None;
        }
        let plain = PLAIN.iter().find(|(of, _)| *of == service).map(|(_, kind)| *kind);
        let (kind, name) = match (service, resource.find(['/', ':'])) {
            ("s3", at) if region.is_empty() && account.is_empty() => {
                let kind = if at.is_some() { "object" } else { "bucket" };
                (Some(kind.to_owned()), resource.to_owned())
            }
            (_, None) => (plain.map(str::to_owned), resource.to_owned()),
            ("sns", Some(at)) => (Some("subscription".to_owned()), resource[at + 1..].to_owned()),
            (_, Some(at)) => {
                let kind = words::kind(&resource[..at]);
                let name = last_part(service, &kind, resource, at);
                (Some(kind).filter(|kind| !kind.is_empty()), name)
            }
        };
        Some(Self { service, kind, name })
    }
}

fn last_part(service: &str, kind: &str, resource: &str, at: usize) -> String {
    let rest = &resource[at + 1..];
    if PATH_NAMED.contains(&(service, kind)) {
        let leading = if service == "ssm" && rest.contains('/') { "/" } else { "" };
        return format!("{leading}{rest}");
    }
    let parts: Vec<&str> = match resource.as_bytes()[at] {
        b':' => {
            let mut parts: Vec<&str> = rest.split(':').collect();
            while parts.len() > 1 && parts.last().is_some_and(|part| qualifies(part)) {
                parts.pop();
            }
            parts
        }
        _ => rest.split('/').collect(),
    };
    let last = parts.iter().rfind(|part| !part.is_empty()).copied().unwrap_or("");
    match last.split_once("Name/") {
        Some((_, name)) if service == "autoscaling" => name.to_owned(),
        _ => last.to_owned(),
    }
}

fn qualifies(part: &str) -> bool {
    part == "*" || part == "$LATEST" || part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_its_kind_and_last_part() {
        for (text, service, kind, name) in [
            ("arn:aws:s3:::x", "s3", "bucket", "x"),
            ("arn:aws:s3:::x/k/l.txt", "s3", "object", "x/k/l.txt"),
            ("arn:aws:s3:us-east-1:1:storage-lens/default", "s3", "storage-lens", "default"),
            ("arn:aws:s3:us-east-1:1:accesspoint/ap", "s3", "accesspoint", "ap"),
            ("arn:aws:iam::1:role/x", "iam", "role", "x"),
            ("arn:aws:iam::1:role/service-role/x", "iam", "role", "x"),
            ("arn:aws:iam::aws:policy/AdministratorAccess", "iam", "policy", "AdministratorAccess"),
            ("arn:aws:iam::1:instance-profile/p", "iam", "instance-profile", "p"),
            ("arn:aws:sts::1:assumed-role/r/session", "sts", "assumed-role", "session"),
            ("arn:aws-cn:ec2:cn-north-1:1:instance/i-1", "ec2", "instance", "i-1"),
            ("arn:aws:logs:r:1:log-group:/aws/lambda/x:*", "logs", "log-group", "/aws/lambda/x"),
            ("arn:aws:logs:r:1:log-group:x", "logs", "log-group", "x"),
            ("arn:aws:secretsmanager:r:1:secret:app/db-AbCdEf", "secretsmanager", "secret", "app/db-AbCdEf"),
            ("arn:aws:ssm:r:1:parameter/a/b", "ssm", "parameter", "/a/b"),
            ("arn:aws:ssm:r:1:parameter/a", "ssm", "parameter", "a"),
            ("arn:aws:ssm:r:1:association/56f", "ssm", "association", "56f"),
            ("arn:aws:ecr:r:1:repository/team/app", "ecr", "repository", "team/app"),
            ("arn:aws:kms:r:1:key/dad21b23", "kms", "key", "dad21b23"),
            ("arn:aws:kms:r:1:alias/ours", "kms", "alias", "ours"),
            ("arn:aws:sns:r:1:t", "sns", "topic", "t"),
            ("arn:aws:sns:r:1:t:8a21", "sns", "subscription", "8a21"),
            ("arn:aws:sqs:r:1:q", "sqs", "queue", "q"),
            ("arn:aws:lambda:r:1:function:f", "lambda", "function", "f"),
            ("arn:aws:lambda:r:1:function:f:7", "lambda", "function", "f"),
            ("arn:aws:lambda:r:1:function:f:$LATEST", "lambda", "function", "f"),
            ("arn:aws:rds:r:1:snapshot:exfiltration", "rds", "snapshot", "exfiltration"),
            ("arn:aws:states:r:1:stateMachine:m", "states", "state-machine", "m"),
            ("arn:aws:dynamodb:r:1:table/t", "dynamodb", "table", "t"),
            ("arn:aws:apigateway:r::/restapis/a1", "apigateway", "restapi", "a1"),
            (
                "arn:aws:autoscaling:r:1:autoScalingGroup:8a:autoScalingGroupName/g",
                "autoscaling",
                "auto-scaling-group",
                "g",
            ),
            ("arn:aws:cloudtrail:r:1:trail/t", "cloudtrail", "trail", "t"),
        ] {
            let arn = Arn::parse(text).unwrap();
            assert_eq!((arn.service, arn.kind.as_deref(), arn.name.as_str()), (service, Some(kind), name), "{text}");
        }
    }

    #[test]
    fn an_arn_without_a_kind_says_so() {
        let arn = Arn::parse("arn:aws:iam::1:root").unwrap();
        assert_eq!((arn.kind, arn.name.as_str()), (None, "root"));
    }

    #[test]
    fn what_only_looks_like_an_arn_is_none() {
        for text in ["", "arn", "arn:aws:s3", "arn:aws:s3:::", "arn::s3:::x", "xarn:aws:s3:::x", "arn:aws:::1:x"] {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
    }
}
