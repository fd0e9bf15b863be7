//! One decision as CBOR: an array of the question's tag, the generation, the question's fields and the answer. Tags and the
//! order of fields are never changed; another format has another first line.

use ostrakon_core::policy::{
    Answer, Brief, Change, Forecast, Heat, Outlook, Placement, Placing, PolicyFault, Question, Route, Verdict,
};
use ostrakon_wire::cbor::{self, CborError, Reader};
use ostrakon_wire::{ActionKind, Generation, OnConflict};

use super::Recorded;

const PLACE: u64 = 1;
const PREDICT: u64 = 2;
const JUDGE: u64 = 3;
const RECONCILE: u64 = 4;

const FAULT: u64 = 0;
const PLACEMENT: u64 = 1;
const FORECAST: u64 = 2;
const VERDICT: u64 = 3;

type Read<T> = Result<T, CborError>;

const fn expected<T>(expected: &'static str) -> Read<T> {
    Err(CborError::Expected { expected })
}

impl Recorded {
    /// Appends the content of its record.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        cbor::array(out, 4);
        write_question(&self.question, out, self.generation);
        write_answer(&self.answer, out);
    }

    /// Reads the content of a record.
    pub(super) fn read(content: &[u8]) -> Read<Self> {
        let mut reader = Reader::new(content);
        array(&mut reader, 4)?;
        let tag = reader.uint()?;
        let generation = Generation::new(reader.uint()?);
        let question = read_question(tag, &mut reader)?;
        let answer = read_answer(&mut reader)?;
        reader.end()?;
        Ok(Self { question, generation, answer })
    }
}

fn array(reader: &mut Reader<'_>, len: usize) -> Read<()> {
    if reader.array()? == len { Ok(()) } else { expected("an array of the length that its tag has") }
}

fn write_question(question: &Question, out: &mut Vec<u8>, generation: Generation) {
    let mut head = |tag: u64, fields: usize| {
        cbor::uint(out, tag);
        cbor::uint(out, generation.get());
        cbor::array(out, fields);
    };
    match question {
        Question::Place(placing) => {
            head(PLACE, 12);
            write_placing(placing, out);
        }
        Question::Predict(outlook) => {
            head(PREDICT, 14);
            write_outlook(outlook, out);
        }
        Question::Judge { brief, ours, theirs } => {
            head(JUDGE, 15);
            write_brief(brief, out);
            cbor::bytes(out, ours);
            write_optional(theirs.as_deref(), out);
        }
        Question::Reconcile { brief, body, base, latest } => {
            head(RECONCILE, 16);
            write_brief(brief, out);
            cbor::bytes(out, body);
            write_optional(base.as_deref(), out);
            write_optional(latest.as_deref(), out);
        }
    }
}

fn read_question(tag: u64, reader: &mut Reader<'_>) -> Read<Question> {
    match tag {
        PLACE => {
            array(reader, 12)?;
            read_placing(reader).map(Question::Place)
        }
        PREDICT => {
            array(reader, 14)?;
            read_outlook(reader).map(Question::Predict)
        }
        JUDGE => {
            array(reader, 15)?;
            let brief = read_brief(reader)?;
            Ok(Question::Judge { brief, ours: reader.bytes()?.to_vec(), theirs: read_optional(reader)? })
        }
        RECONCILE => {
            array(reader, 16)?;
            let brief = read_brief(reader)?;
            let body = reader.bytes()?.to_vec();
            Ok(Question::Reconcile { brief, body, base: read_optional(reader)?, latest: read_optional(reader)? })
        }
        _ => expected("the tag of a question"),
    }
}

fn write_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => cbor::bytes(out, bytes),
        None => cbor::null(out),
    }
}

fn read_optional(reader: &mut Reader<'_>) -> Read<Option<Vec<u8>>> {
    const NULL: u8 = 0xf6;
    if reader.peek()? == NULL {
        reader.skip()?;
        return Ok(None);
    }
    reader.bytes().map(|bytes| Some(bytes.to_vec()))
}

fn write_placing(placing: &Placing<Box<str>>, out: &mut Vec<u8>) {
    let Placing { client, data_type, name, timestamp_ms, current, heat } = placing;
    let Heat { client_ppm, type_ppm, window_ppm, write_ppm, callers, idle_ms, shards } = *heat;
    [client, data_type, name].iter().for_each(|text| cbor::text(out, text));
    [*timestamp_ms, *current, client_ppm.into(), type_ppm.into(), window_ppm.into(), write_ppm.into()]
        .into_iter()
        .chain([callers.into(), idle_ms, shards.into()])
        .for_each(|number| cbor::uint(out, number));
}

fn read_placing(reader: &mut Reader<'_>) -> Read<Placing<Box<str>>> {
    Ok(Placing {
        client: reader.text()?.into(),
        data_type: reader.text()?.into(),
        name: reader.text()?.into(),
        timestamp_ms: reader.uint()?,
        current: reader.uint()?,
        heat: Heat {
            client_ppm: reader.uint32()?,
            type_ppm: reader.uint32()?,
            window_ppm: reader.uint32()?,
            write_ppm: reader.uint32()?,
            callers: reader.uint32()?,
            idle_ms: reader.uint()?,
            shards: reader.uint32()?,
        },
    })
}

fn write_outlook(outlook: &Outlook, out: &mut Vec<u8>) {
    let numbers = [
        outlook.known,
        outlook.observed,
        outlook.observed_age_us,
        outlook.read_age_us,
        outlook.queued.into(),
        outlook.in_group.into(),
        outlook.write_millihz,
        outlook.conflict_ppm.into(),
        outlook.commit_us.into(),
        outlook.kind as u64,
        outlook.choice as u64,
        outlook.attempt.into(),
        outlook.payload_bytes.into(),
        outlook.scope,
    ];
    numbers.into_iter().for_each(|number| cbor::uint(out, number));
}

fn read_outlook(reader: &mut Reader<'_>) -> Read<Outlook> {
    Ok(Outlook {
        known: reader.uint()?,
        observed: reader.uint()?,
        observed_age_us: reader.uint()?,
        read_age_us: reader.uint()?,
        queued: reader.uint32()?,
        in_group: reader.uint32()?,
        write_millihz: reader.uint()?,
        conflict_ppm: reader.uint32()?,
        commit_us: reader.uint32()?,
        kind: read_kind(reader)?,
        choice: OnConflict::from_number(reader.uint()?)
            .ok_or(CborError::Expected { expected: "the number of a choice" })?,
        attempt: reader.uint32()?,
        payload_bytes: reader.uint32()?,
        scope: reader.uint()?,
    })
}

fn read_kind(reader: &mut Reader<'_>) -> Read<ActionKind> {
    ActionKind::from_number(reader.uint()?).ok_or(CborError::Expected { expected: "the number of a kind of action" })
}

fn write_brief(brief: &Brief<Box<str>>, out: &mut Vec<u8>) {
    [&brief.client, &brief.data_type, &brief.name].iter().for_each(|text| cbor::text(out, text));
    cbor::uint(out, brief.kind as u64);
    cbor::text(out, &brief.custom_kind);
    cbor::uint(out, brief.known);
    cbor::bool(out, brief.base_kept);
    cbor::uint(out, brief.latest);
    cbor::bool(out, brief.exists);
    [brief.attempt.into(), brief.now_ms, brief.shard_key, brief.latest_bytes.into()]
        .into_iter()
        .for_each(|number| cbor::uint(out, number));
}

fn read_brief(reader: &mut Reader<'_>) -> Read<Brief<Box<str>>> {
    Ok(Brief {
        client: reader.text()?.into(),
        data_type: reader.text()?.into(),
        name: reader.text()?.into(),
        kind: read_kind(reader)?,
        custom_kind: reader.text()?.into(),
        known: reader.uint()?,
        base_kept: reader.bool()?,
        latest: reader.uint()?,
        exists: reader.bool()?,
        attempt: reader.uint32()?,
        now_ms: reader.uint()?,
        shard_key: reader.uint()?,
        latest_bytes: reader.uint32()?,
    })
}

fn write_answer(answer: &Result<Answer, PolicyFault>, out: &mut Vec<u8>) {
    match answer {
        Ok(Answer::Placement(Placement { key, bits })) => {
            cbor::array(out, 3);
            [PLACEMENT, *key, (*bits).into()].into_iter().for_each(|number| cbor::uint(out, number));
        }
        Ok(Answer::Forecast(Forecast { version, confidence_ppm, route })) => {
            cbor::array(out, 4);
            let route = u64::from(*route == Route::Reconcile);
            [FORECAST, *version, (*confidence_ppm).into(), route]
                .into_iter()
                .for_each(|number| cbor::uint(out, number));
        }
        Ok(Answer::Verdict(verdict)) => {
            cbor::array(out, 4);
            cbor::uint(out, VERDICT);
            write_verdict(verdict, out);
        }
        Err(fault) => {
            cbor::array(out, 2);
            cbor::uint(out, FAULT);
            cbor::text(out, fault.name());
        }
    }
}

/// Three items: the name of its case, and what that carries.
fn write_verdict(verdict: &Verdict, out: &mut Vec<u8>) {
    cbor::text(out, verdict.name());
    let (first, second): (Option<&[u8]>, Option<&[u8]>) = match verdict {
        Verdict::Rerun | Verdict::NeedPayloads => (None, None),
        Verdict::Patch(Change { body, reply }) | Verdict::Replace(Change { body, reply }) => (Some(body), Some(reply)),
        Verdict::Remove(reply) | Verdict::AlreadyApplied(reply) => (Some(reply), None),
        Verdict::Reject(words) | Verdict::Escalate(words) => (Some(words.as_bytes()), None),
        Verdict::RetryAfterMs(ms) => (Some(&ms.to_be_bytes()), None),
    };
    write_optional(first, out);
    write_optional(second, out);
}

fn read_answer(reader: &mut Reader<'_>) -> Read<Result<Answer, PolicyFault>> {
    let len = reader.array()?;
    match (reader.uint()?, len) {
        (PLACEMENT, 3) => {
            let key = reader.uint()?;
            let bits = u8::try_from(reader.uint()?).or(expected("a number of bits"))?;
            Ok(Ok(Answer::Placement(Placement { key, bits })))
        }
        (FORECAST, 4) => {
            let (version, confidence_ppm) = (reader.uint()?, reader.uint32()?);
            let route = if reader.uint()? == 0 { Route::Write } else { Route::Reconcile };
            Ok(Ok(Answer::Forecast(Forecast { version, confidence_ppm, route })))
        }
        (VERDICT, 4) => read_verdict(reader).map(|verdict| Ok(Answer::Verdict(verdict))),
        (FAULT, 2) => Ok(Err(match reader.text()? {
            "overran" => PolicyFault::Overran { deadline_ms: 0 },
            "out-of-memory" => PolicyFault::OutOfMemory { bytes_max: 0 },
            "impure" => PolicyFault::Impure,
            "impossible" => PolicyFault::Impossible(String::new()),
            _ => PolicyFault::Trapped(String::new()),
        })),
        _ => expected("the tag of an answer"),
    }
}

fn read_verdict(reader: &mut Reader<'_>) -> Read<Verdict> {
    let name = reader.text()?;
    let (first, second) = (read_optional(reader)?, read_optional(reader)?);
    let bytes = || first.clone().ok_or(CborError::Expected { expected: "what the verdict carries" });
    let words = || String::from_utf8(bytes()?).map_err(|_| CborError::NotUtf8);
    let change = || Ok::<_, CborError>(Change { body: bytes()?, reply: second.clone().unwrap_or_default() });
    Ok(match name {
        "rerun" => Verdict::Rerun,
        "need-payloads" => Verdict::NeedPayloads,
        "patch" => Verdict::Patch(change()?),
        "replace" => Verdict::Replace(change()?),
        "remove" => Verdict::Remove(bytes()?),
        "already-applied" => Verdict::AlreadyApplied(bytes()?),
        "reject" => Verdict::Reject(words()?),
        "escalate" => Verdict::Escalate(words()?),
        "retry-after-ms" => {
            let ms = bytes()?.try_into().or(expected("four bytes"))?;
            Verdict::RetryAfterMs(u32::from_be_bytes(ms))
        }
        _ => return expected("the name of a verdict"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::calls::{brief, outlook, placing};

    fn answers() -> Vec<Result<Answer, PolicyFault>> {
        let change = Change { body: vec![1, 2], reply: vec![] };
        let verdicts = [
            Verdict::Rerun,
            Verdict::NeedPayloads,
            Verdict::Patch(change.clone()),
            Verdict::Replace(Change { reply: vec![7], ..change }),
            Verdict::Remove(vec![3]),
            Verdict::AlreadyApplied(vec![]),
            Verdict::Reject("nein".into()),
            Verdict::RetryAfterMs(70_000),
            Verdict::Escalate("ö".into()),
        ];
        let mut all: Vec<_> = verdicts.into_iter().map(|verdict| Ok(Answer::Verdict(verdict))).collect();
        all.push(Ok(Answer::Placement(Placement { key: u64::MAX, bits: 52 })));
        for route in [Route::Write, Route::Reconcile] {
            all.push(Ok(Answer::Forecast(Forecast { version: 9, confidence_ppm: 5, route })));
        }
        all.push(Err(PolicyFault::Impure));
        all.push(Err(PolicyFault::Overran { deadline_ms: 0 }));
        all
    }

    fn all() -> Vec<Recorded> {
        let kept = || brief("volume").kept();
        let questions = [
            Question::Place(placing("volume").kept()),
            Question::Predict(outlook(7)),
            Question::Judge { brief: kept(), ours: vec![0xa0], theirs: None },
            Question::Judge { brief: kept(), ours: vec![], theirs: Some(vec![1]) },
            Question::Reconcile { brief: kept(), body: vec![9; 70], base: None, latest: Some(vec![]) },
        ];
        let answers = answers();
        let pairs = questions.iter().flat_map(|question| answers.iter().map(move |answer| (question, answer)));
        pairs
            .map(|(question, answer)| Recorded {
                question: question.clone(),
                generation: Generation::new(300),
                answer: answer.clone(),
            })
            .collect()
    }

    #[test]
    fn a_decision_reads_back_as_another() {
        for recorded in all() {
            let mut content = Vec::new();
            recorded.write(&mut content);
            assert_eq!(Recorded::read(&content), Ok(recorded));
        }
    }

    #[test]
    fn a_damaged_decision_panics() {
        for recorded in all() {
            let mut content = Vec::new();
            recorded.write(&mut content);
            for cut in 0..content.len() {
                assert!(Recorded::read(&content[..cut]).is_err(), "cut at {cut}");
            }
            for at in 0..content.len() {
                for flip in [1, 0x20, 0x80, 0xff] {
                    let mut damaged = content.clone();
                    damaged[at] ^= flip;
                    // An error or another decision; never a panic.
                    let _ = Recorded::read(&damaged);
                }
            }
        }
    }
}
