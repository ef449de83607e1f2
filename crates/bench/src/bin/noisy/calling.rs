//! Calls whose messages are encoded before and never decoded.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::{Failure, KEY};

pub(crate) const PERMISSIONS: &str = "/authzed.api.v1.PermissionsService/";
pub(crate) const SCHEMAS: &str = "/authzed.api.v1.SchemaService/";

/// Passes bytes through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

pub(crate) async fn connect(address: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}

/// Somebody who calls about one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    grpc: Grpc<Channel>,
    namespace: MetadataValue<Ascii>,
}

impl Caller {
    pub(crate) async fn connect(address: &str, namespace: &str) -> Result<Caller, Failure> {
        let grpc = Grpc::new(connect(address).await?).max_decoding_message_size(64 << 20);
        Ok(Caller { grpc: grpc.max_encoding_message_size(64 << 20), namespace: namespace.parse()? })
    }

    fn request(&self, message: Bytes) -> Result<Request<Bytes>, Failure> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse()?);
        request.metadata_mut().insert("x-idhini-namespace", self.namespace.clone());
        Ok(request)
    }

    /// A call with one answer.
    pub(crate) async fn ask(&mut self, path: PathAndQuery, message: Bytes) -> Result<Bytes, Failure> {
        self.grpc.ready().await?;
        let request = self.request(message)?;
        Ok(self.grpc.unary(request, path, Raw).await?.into_inner())
    }

    /// A call with many.
    pub(crate) async fn stream(
        &mut self,
        path: PathAndQuery,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Failure> {
        self.grpc.ready().await?;
        let request = self.request(message)?;
        let response: Response<Streaming<Bytes>> = self.grpc.server_streaming(request, path, Raw).await?;
        Ok(response.into_inner())
    }
}

pub(crate) fn path(service: &str, call: &str) -> Result<PathAndQuery, Failure> {
    Ok(format!("{service}{call}").parse()?)
}

pub(crate) fn encoded(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}
