//! The upstream's answer on its way to the client.

use http::header::CONTENT_LENGTH;
use http::{Method, Response, Version};
use hyper::body::Incoming;

use super::super::body::ResponseBody;
use super::super::forward;
use super::super::outcome::Completion;
use super::super::refusal::Refusal;
use super::Exchange;
use super::authenticate::Authenticated;
use crate::aws::catalog::Output;
use crate::aws::{Call, Operation, Protocol};
use crate::mask;
use crate::mask::minted::{self, Minting};
use crate::policy::Masked;

/// What is to be changed in an answer.
pub(super) struct Edits {
    protocol: Protocol,
    /// The output, where it has members that are masked.
    output: Option<Output>,
    masked: Masked,
    /// Where it has credentials, whatever is masked: the tree never holds any that work elsewhere.
    pub(super) minting: Option<Minting>,
}

impl Edits {
    /// `None` where the answer passes as it comes.
    pub(super) fn of(call: &Call, masked: Masked) -> Option<Self> {
        let output = call
            .output
            .filter(|output| forward::has_masked(*output, |class| masked.contains(class)));
        let minting = match (&call.operation, call.service) {
            (Operation::Known(name), Some(service)) => minted::minting(service, name),
            _ => None,
        };
        (output.is_some() || minting.is_some()).then_some(Self {
            protocol: call.protocol,
            output,
            masked,
            minting,
        })
    }
}

impl Exchange {
    /// Passes the answer on: as it arrives, or changed where it holds what is to be changed.
    pub(super) async fn answer(
        &self,
        response: Response<Incoming>,
        edits: Option<Edits>,
        from: &Authenticated,
        mut completion: Completion,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (mut parts, body) = response.into_parts();
        completion.answered(parts.status, &parts.headers);
        forward::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let Some(edits) = edits.filter(|_| parts.status.is_success()) else {
            return Ok(Response::from_parts(
                parts,
                ResponseBody::through(body, completion),
            ));
        };
        let withheld = |completion: &mut Completion, text: String| {
            completion.fail("not-masked", &text);
            Refusal::failed(format!("the call ran, but its answer is withheld: {text}"))
        };
        let limit = self.gateway.config.limits.response_body_bytes;
        let mut bytes = forward::read_answer(&parts.headers, body, limit)
            .await
            .map_err(|error| withheld(&mut completion, error.to_string()))?;
        completion.received(bytes.len());
        if let Some(minting) = edits.minting {
            bytes = self
                .mint(minting, edits.protocol, from, bytes)
                .await
                .map_err(|text| withheld(&mut completion, text))?;
            mask::repair_headers(&mut parts.headers, &bytes);
        }
        if let Some(output) = edits.output {
            let masks = |class| edits.masked.contains(class);
            let spares = |path: &str| edits.minting.is_some_and(|minting| minting.spares(path));
            let (masked, paths) =
                mask::mask_response(output, edits.protocol, &mut parts, bytes, &masks, &spares)
                    .map_err(|error| withheld(&mut completion, error.to_string()))?;
            bytes = masked;
            completion.masked(paths);
        }
        if self.reply.method != Method::HEAD {
            parts
                .headers
                .insert(CONTENT_LENGTH, (bytes.len() as u64).into());
        }
        completion.finish();
        Ok(Response::from_parts(parts, ResponseBody::whole(bytes)))
    }
}
