//! The upstream's answer on its way to the client.

use http::header::CONTENT_LENGTH;
use http::{Method, Response, Version};
use hyper::body::Incoming;

use super::super::body::ResponseBody;
use super::super::forward;
use super::super::outcome::Completion;
use super::super::refusal::Refusal;
use super::Exchange;
use crate::aws::Protocol;
use crate::aws::catalog::Output;
use crate::mask;
use crate::policy::Masked;

impl Exchange {
    /// Passes the answer on: as it arrives, or masked where it holds what is to be masked.
    pub(super) async fn answer(
        &self,
        response: Response<Incoming>,
        output: Option<(Output, Masked)>,
        protocol: Protocol,
        mut completion: Completion,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (mut parts, body) = response.into_parts();
        completion.answered(parts.status, &parts.headers);
        forward::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let Some((output, masked)) = output.filter(|_| parts.status.is_success()) else {
            return Ok(Response::from_parts(
                parts,
                ResponseBody::through(body, completion),
            ));
        };
        let unmasked = |completion: &mut Completion, text: String| {
            completion.fail("not-masked", &text);
            Refusal::failed(format!("the call ran, but its answer is withheld: {text}"))
        };
        let limit = self.gateway.config.limits.response_body_bytes;
        let bytes = forward::read_answer(&parts.headers, body, limit)
            .await
            .map_err(|error| unmasked(&mut completion, error.to_string()))?;
        completion.received(bytes.len());
        let (bytes, paths) = mask::mask_response(output, protocol, &mut parts, bytes, &|class| {
            masked.contains(class)
        })
        .map_err(|error| unmasked(&mut completion, error.to_string()))?;
        if self.reply.method != Method::HEAD {
            parts
                .headers
                .insert(CONTENT_LENGTH, (bytes.len() as u64).into());
        }
        completion.masked(paths);
        completion.finish();
        Ok(Response::from_parts(parts, ResponseBody::whole(bytes)))
    }
}
