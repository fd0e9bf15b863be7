//! The calls that made-up traffic consists of: five kinds of things, and how CloudTrail writes what is done to them.

use serde_json::{Value, json};

/// Something that calls act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Volume,
    Instance,
    Parameter,
    Role,
    Bucket,
}

/// One call, less who made it and when.
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) read_only: bool,
    pub(crate) request: Value,
    pub(crate) response: Value,
    /// The end of the one resource's ARN, behind `arn:aws:`; `ACCOUNT` stands for the account.
    pub(crate) resource: Option<String>,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] = [Self::Volume, Self::Instance, Self::Parameter, Self::Role, Self::Bucket];

    fn service(self) -> &'static str {
        match self {
            Self::Volume | Self::Instance => "ec2",
            Self::Parameter => "ssm",
            Self::Role => "iam",
            Self::Bucket => "s3",
        }
    }

    /// A name of this kind; `mark` tells it from every other.
    pub(crate) fn name(self, mark: u64) -> String {
        match self {
            Self::Volume => format!("vol-0{mark:016x}"),
            Self::Instance => format!("i-0{mark:016x}"),
            Self::Parameter => format!("/app/config-{:x}/limits", mark >> 40),
            Self::Role => format!("app-role-{:x}", mark >> 40),
            Self::Bucket => format!("app-artifacts-{:x}", mark >> 40),
        }
    }
}

impl Thing {
    /// It comes into being.
    pub(crate) fn create(&self) -> Call {
        let id = &self.name;
        let (name, request, response) = match self.kind {
            Kind::Volume => {
                let request = json!({"size": "8", "zone": "us-east-1a", "volumeType": "gp3"});
                ("CreateVolume", request, json!({"requestId": "-", "volumeId": id, "size": "8", "status": "creating"}))
            }
            Kind::Instance => {
                let request = json!({"instancesSet": {"items": [{"imageId": "ami-0a1b2c3d4e5f60718", "minCount": 1}]}, "instanceType": "t3.micro"});
                ("RunInstances", request, json!({"requestId": "-", "instancesSet": {"items": [{"instanceId": id}]}}))
            }
            Kind::Parameter => {
                ("PutParameter", json!({"name": id, "type": "String", "overwrite": false}), json!({"version": 1}))
            }
            Kind::Role => ("CreateRole", json!({"roleName": id, "path": "/"}), Value::Null),
            Kind::Bucket => ("CreateBucket", json!({"bucketName": id}), Value::Null),
        };
        self.call(name, false, request, response)
    }

    /// It is looked at.
    pub(crate) fn look(&self) -> Call {
        let id = &self.name;
        let (name, request) = match self.kind {
            Kind::Volume => ("DescribeVolumes", json!({"volumeSet": {"items": [{"volumeId": id}]}, "filterSet": {}})),
            Kind::Instance => {
                ("DescribeInstances", json!({"instancesSet": {"items": [{"instanceId": id}]}, "filterSet": {}}))
            }
            Kind::Parameter => ("GetParameter", json!({"name": id, "withDecryption": true})),
            Kind::Role => ("GetRole", json!({"roleName": id})),
            Kind::Bucket => ("GetBucketPolicy", json!({"bucketName": id})),
        };
        self.call(name, true, request, Value::Null)
    }

    /// It is changed in one of three ways; `value` is something to write.
    pub(crate) fn change(&self, way: u64, value: u64) -> Call {
        let id = &self.name;
        let (name, request) = match (self.kind, way % 3) {
            (Kind::Volume, 0) => {
                let device = format!("/dev/sd{}", char::from(b'f' + (value % 8) as u8));
                let instance = Kind::Instance.name(value);
                ("AttachVolume", json!({"volumeId": id, "instanceId": instance, "device": device}))
            }
            (Kind::Volume, 1) => {
                ("ModifyVolume", json!({"ModifyVolumeRequest": {"VolumeId": id, "Iops": 3000 + value % 1000}}))
            }
            (Kind::Volume, _) => {
                ("ModifyVolume", json!({"ModifyVolumeRequest": {"VolumeId": id, "Size": 8 + value % 512}}))
            }
            (Kind::Instance, 0) => {
                ("ModifyInstanceAttribute", json!({"instanceId": id, "ebsOptimized": value.is_multiple_of(2)}))
            }
            (Kind::Instance, _) => {
                let name = if value.is_multiple_of(2) { "StartInstances" } else { "StopInstances" };
                (name, json!({"instancesSet": {"items": [{"instanceId": id}]}}))
            }
            (Kind::Parameter, _) => {
                ("PutParameter", json!({"name": id, "type": "String", "overwrite": true, "value": value % 100}))
            }
            (Kind::Role, 0) => ("UpdateRole", json!({"roleName": id, "maxSessionDuration": 3600 + value % 3600})),
            (Kind::Role, _) => {
                ("PutRolePolicy", json!({"roleName": id, "policyName": format!("inline-{}", value % 4)}))
            }
            (Kind::Bucket, 0) => {
                ("PutBucketVersioning", json!({"bucketName": id, "VersioningConfiguration": {"Status": "Enabled"}}))
            }
            (Kind::Bucket, _) => {
                ("PutBucketPolicy", json!({"bucketName": id, "bucketPolicy": {"Version": value % 100}}))
            }
        };
        self.call(name, false, request, Value::Null)
    }

    /// It ends.
    pub(crate) fn end(&self) -> Call {
        let id = &self.name;
        let (name, request) = match self.kind {
            Kind::Volume => ("DeleteVolume", json!({"volumeId": id})),
            Kind::Instance => ("TerminateInstances", json!({"instancesSet": {"items": [{"instanceId": id}]}})),
            Kind::Parameter => ("DeleteParameter", json!({"name": id})),
            Kind::Role => ("DeleteRole", json!({"roleName": id})),
            Kind::Bucket => ("DeleteBucket", json!({"bucketName": id})),
        };
        self.call(name, false, request, Value::Null)
    }

    fn call(&self, name: &'static str, read_only: bool, request: Value, response: Value) -> Call {
        let resource = match self.kind {
            Kind::Bucket => Some(format!("s3:::{}", self.name)),
            Kind::Parameter => Some(format!("ssm:us-east-1:ACCOUNT:parameter{}", self.name)),
            _ => None,
        };
        let service = self.kind.service();
        Call { service, name, read_only, request, response, resource }
    }
}

/// All things of a kind are asked for.
pub(crate) fn list(kind: Kind) -> Call {
    let name = match kind {
        Kind::Volume => "DescribeVolumes",
        Kind::Instance => "DescribeInstances",
        Kind::Parameter => "DescribeParameters",
        Kind::Role => "ListRoles",
        Kind::Bucket => "ListBuckets",
    };
    Call { service: kind.service(), name, read_only: true, request: Value::Null, response: Value::Null, resource: None }
}
