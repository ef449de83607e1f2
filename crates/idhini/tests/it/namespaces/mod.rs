//! Namespaces of a running server: beside a plain model of their rules, under locks that fall on many callers, killed.

mod isolation;
mod kills;
mod locking;
mod rules;
mod tokens;

use idhini_wire::google;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::access_service_client::AccessServiceClient;
use idhini_wire::idhini::v1::namespace_service_client::NamespaceServiceClient;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::process::{KEY, Server};

/// Whoever asks, with a token, about a namespace.
#[derive(Debug, Clone)]
pub struct Caller {
    pub channel: Channel,
    token: String,
    namespace: String,
}

impl Caller {
    /// With the server's key, about `root`.
    pub async fn root(server: &Server) -> Caller {
        Caller { channel: server.channel().await, token: KEY.to_owned(), namespace: "root".to_owned() }
    }

    /// With another token.
    pub fn with(&self, token: &str) -> Caller {
        Caller { token: token.to_owned(), ..self.clone() }
    }

    /// About another namespace.
    pub fn about(&self, namespace: &str) -> Caller {
        Caller { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// On a connection of its own.
    pub async fn apart(&self, server: &Server) -> Caller {
        Caller { channel: server.channel().await, ..self.clone() }
    }

    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        metadata.insert("x-idhini-namespace", self.namespace.parse().unwrap());
        request
    }

    pub fn namespaces(&self) -> NamespaceServiceClient<Channel> {
        NamespaceServiceClient::new(self.channel.clone())
    }

    pub fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }

    pub async fn create(&self, path: &str) -> Result<(), Status> {
        let request = v1::CreateNamespaceRequest { path: path.to_owned(), ..Default::default() };
        self.namespaces().create_namespace(self.request(request)).await.map(drop)
    }

    pub async fn delete(&self, path: &str) -> Result<(), Status> {
        let request = v1::DeleteNamespaceRequest { path: path.to_owned() };
        self.namespaces().delete_namespace(self.request(request)).await.map(drop)
    }

    /// Answers the key.
    pub async fn lock(&self, path: &str, mode: v1::LockMode) -> Result<String, Status> {
        let (path, mode) = (path.to_owned(), mode as i32);
        let request = v1::LockNamespaceRequest { path, mode, ..Default::default() };
        let locked = self.namespaces().lock_namespace(self.request(request)).await?;
        Ok(locked.into_inner().unlock_key)
    }

    pub async fn unlock(&self, path: &str, key: &str) -> Result<(), Status> {
        let request = v1::UnlockNamespaceRequest { path: path.to_owned(), unlock_key: key.to_owned() };
        self.namespaces().unlock_namespace(self.request(request)).await.map(drop)
    }

    pub async fn lock_of(&self, path: &str) -> Result<v1::ReadLockResponse, Status> {
        let request = v1::ReadLockRequest { path: path.to_owned() };
        Ok(self.namespaces().read_lock(self.request(request)).await?.into_inner())
    }

    /// All namespaces below one, or those directly in it.
    pub async fn list(&self, path: &str, recursive: bool) -> Result<Vec<v1::Namespace>, Status> {
        let mut all = Vec::new();
        let mut after_path = String::new();
        loop {
            let request =
                v1::ListNamespacesRequest { path: path.to_owned(), recursive, page_size: 0, after_path };
            let page = self.namespaces().list_namespaces(self.request(request)).await?.into_inner();
            all.extend(page.namespaces);
            if page.next_path.is_empty() {
                return Ok(all);
            }
            after_path = page.next_path;
        }
    }

    /// Makes a token, and answers its text.
    pub async fn token(&self, home: &str, role: &str) -> Result<String, Status> {
        let (home, roles) = (home.to_owned(), vec![role.to_owned()]);
        let request = v1::CreateTokenRequest { home, roles, ..Default::default() };
        Ok(self.access().create_token(self.request(request)).await?.into_inner().token)
    }
}

/// Why a call was refused, if that has a reason of ours, and what is said of it.
pub fn why(status: &Status) -> (String, std::collections::HashMap<String, String>) {
    let details = google::rpc::Status::decode(status.details()).unwrap().details;
    let info = details.first().map(|any| google::rpc::ErrorInfo::decode(any.value.as_slice()).unwrap());
    let info = info.filter(|info| info.domain == "idhini").unwrap_or_default();
    (info.reason, info.metadata.into_iter().collect())
}

/// Of the environment, if it is there.
fn number(variable: &str, or: u32) -> u32 {
    std::env::var(variable).map_or(or, |text| text.parse().unwrap())
}

#[expect(clippy::print_stderr, reason = "for whoever runs it with --nocapture, or looks at what failed")]
fn say(text: &str) {
    eprintln!("{text}");
}
