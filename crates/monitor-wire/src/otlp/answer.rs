//! What a receiver answers, in the sender's own encoding.

use crate::proto::Writer;

/// The body of an answer to a message that was taken, or taken in part: how many
/// data points were not, and why (OTLP specification, "Partial Success"). Such an
/// answer has status 200, and the sender does not send again.
pub fn answer(json: bool, refused: u64, why: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if json {
        let partial = serde_json::json!({ "rejectedDataPoints": refused.to_string(), "errorMessage": why });
        let answer = if refused == 0 {
            serde_json::json!({})
        } else {
            serde_json::json!({ "partialSuccess": partial })
        };
        body = answer.to_string().into_bytes();
    } else if refused > 0 {
        // `ExportMetricsServiceResponse`: partial_success = 1 with
        // rejected_data_points = 1 and error_message = 2.
        Writer(&mut body).message(1, |writer| {
            writer.number(1, refused);
            writer.bytes(2, why.as_bytes());
        });
    }
    body
}

/// The body of an answer to a message that was not taken: `google.rpc.Status`
/// with a message (OTLP specification, "Failures").
pub fn refusal(json: bool, why: &str) -> Vec<u8> {
    if json {
        return serde_json::json!({ "message": why }).to_string().into_bytes();
    }
    let mut body = Vec::new();
    Writer(&mut body).bytes(2, why.as_bytes());
    body
}
