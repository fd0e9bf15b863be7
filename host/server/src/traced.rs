//! Which requests are traced: decided once, when a request is read, by its trace parent or by chance.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use ostrakon_engine::Trace;
use ostrakon_wire::bounds::SHARE_PPM_MAX;
use ostrakon_wire::{Request, TraceParent};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The bit of a trace parent that says that the caller's span is sampled.
const SAMPLED: u8 = 1;

/// Which requests are traced. Plain data.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// The share of those that come without a trace parent, in millionths. One that comes with a trace parent goes by it: a
    /// trace is told whole or not at all.
    pub share_ppm: u32,
}

impl Sampling {
    fn takes(self, parent: Option<TraceParent>) -> bool {
        match parent {
            Some(parent) => parent.flags & SAMPLED != 0,
            None => self.share_ppm > 0 && fastrand::u32(..SHARE_PPM_MAX) < self.share_ppm,
        }
    }
}

/// The trace of a request: none where it is not sampled, or where nothing is exported.
pub(crate) fn trace_of(request: &Request, sampling: Option<Sampling>) -> Trace {
    match sampling {
        Some(sampling) if sampling.takes(request.trace_parent) => begin(request),
        _ => Trace::default(),
    }
}

// Few requests come here: the others need not carry its code.
#[cold]
fn begin(request: &Request) -> Trace {
    let trace = Trace::begin(&request.operation);
    if let Some(parent) = request.trace_parent {
        let remote = SpanContext::new(
            TraceId::from(parent.trace),
            SpanId::from(parent.span),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        // It fails where nobody exports: then nobody asks for the parent either.
        let _ = trace.span().set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
    trace
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_traced_against_its_parent_or_its_share() {
        let parent = |flags: u8| Some(TraceParent { trace: 1, span: 1, flags });
        for share_ppm in [0, SHARE_PPM_MAX] {
            let sampling = Sampling { share_ppm };
            assert!(sampling.takes(parent(SAMPLED)));
            // Other flags say nothing about that.
            assert!(sampling.takes(parent(0xff)));
            assert!(!sampling.takes(parent(0xfe)));
            assert_eq!(sampling.takes(None), share_ppm == SHARE_PPM_MAX);
        }
        let tenth = Sampling { share_ppm: SHARE_PPM_MAX / 10 };
        let taken = (0..10_000).filter(|_| tenth.takes(None)).count();
        assert!((500..2_000).contains(&taken), "{taken} of 10,000");
    }
}
