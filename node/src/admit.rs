//! How a node comes to a cluster: it asks every address it was given; it founds one only when none can name one.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use protocol::{ClusterId, Member, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cluster_key::ClusterKey;
use crate::disk::Identity;
use crate::refusals::Refusals;
use crate::settings::Settings;

/// A founder with others to ask founds a cluster only after so long without one that belongs to any.
const FOUND_AFTER: Duration = Duration::from_secs(3);
/// Pause between two rounds of asking.
const ROUND: Duration = Duration::from_millis(200);
/// A name that is borne may be its bearer's no longer in so long: a node that was killed counts as alive for a moment.
const NAME: Duration = Duration::from_secs(5);
/// Header in which a newcomer proves that it has the cluster key; what it proves is its body.
pub(crate) const PROOF: &str = "x-understudy-proof";
/// One address may take so long to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What `GET /internal/v1/cluster` and `POST /internal/v1/join` answer. Ids are hexadecimal text: JSON numbers end at 2^53.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The cluster's id.
    pub cluster: String,
    /// Its founder's node id.
    pub founder: String,
    /// Its members, as the answering node knows them.
    pub members: Vec<MemberInfo>,
}

/// A member in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Node id, hexadecimal.
    pub id: String,
    /// Its start.
    pub boot: u64,
    /// Its name.
    pub name: String,
    /// `HOST:PORT` of its HTTP.
    pub http: String,
    /// `HOST:PORT` of its consensus link.
    pub link: String,
    /// `HOST:PORT` of its broker link.
    pub broker: String,
}

impl From<&Member> for MemberInfo {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.to_string(),
            boot: member.boot.0,
            name: member.name.clone(),
            http: member.http.clone(),
            link: member.link.clone(),
            broker: member.broker.clone(),
        }
    }
}

impl MemberInfo {
    /// The member, with no number yet; none when the id is no node id.
    #[must_use]
    pub fn member(&self) -> Option<Member> {
        let id = u64::from_str_radix(&self.id, 16).ok().filter(|id| *id != 0)?;
        Some(Member {
            id: NodeId(id),
            number: 0,
            boot: protocol::Boot(self.boot),
            name: self.name.clone(),
            http: self.http.clone(),
            link: self.link.clone(),
            broker: self.broker.clone(),
        })
    }
}

impl ClusterInfo {
    /// Cluster and founder; none when they are no ids.
    #[must_use]
    pub fn ids(&self) -> Option<(ClusterId, NodeId)> {
        let cluster = u128::from_str_radix(&self.cluster, 16).ok()?;
        let founder = u64::from_str_radix(&self.founder, 16).ok().filter(|id| *id != 0)?;
        Some((ClusterId(cluster), NodeId(founder)))
    }
}

/// Why a node is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The folder belongs to another cluster than the nodes it was told to join.
    #[error(
        "joining through {address}: it belongs to cluster {theirs}, data folder {folder} to cluster {ours}"
    )]
    OtherCluster {
        /// Whom it asked.
        address: String,
        /// Their cluster.
        theirs: String,
        /// The cluster of the folder.
        ours: ClusterId,
        /// The data folder.
        folder: String,
    },
    /// The cluster refuses for good.
    #[error("joining through {address}: {why}")]
    Refused {
        /// Whom it asked.
        address: String,
        /// Its words.
        why: String,
    },
    /// No randomness, no client: the process cannot work.
    #[error("joining a cluster: {0}")]
    Setup(String),
}

/// Names the token in every request to another node, where there is one.
pub(crate) fn named(settings: &Settings) -> HeaderMap {
    settings.token.iter().map(|token| (AUTHORIZATION, token.bearer())).collect()
}

/// A client for asking other nodes; no proxies, no redirects, short patience.
fn client(settings: &Settings) -> Result<reqwest::Client, AdmitError> {
    reqwest::Client::builder()
        .default_headers(named(settings))
        .timeout(ANSWER)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| AdmitError::Setup(error.to_string()))
}

/// A random number that is not 0.
///
/// # Errors
/// The system has no randomness.
pub fn random_id() -> Result<u64, AdmitError> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| AdmitError::Setup(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// Finds the cluster this new node is to belong to, or founds one.
///
/// # Errors
/// [`AdmitError::Setup`]; it asks on for as long as nobody answers and it may not found.
pub async fn find(settings: &Settings) -> Result<(Identity, Vec<Member>), AdmitError> {
    let client = client(settings)?;
    let node = NodeId(random_id()?);
    let began = Instant::now();
    loop {
        for address in &settings.join {
            let Some(info) = ask(&client, address).await else { continue };
            if let Some((cluster, founder)) = info.ids() {
                let members = info.members.iter().filter_map(MemberInfo::member).collect();
                return Ok((Identity { cluster, node, founder }, members));
            }
        }
        if settings.founds && (settings.join.is_empty() || began.elapsed() >= FOUND_AFTER) {
            let cluster = ClusterId((u128::from(random_id()?) << 64) | u128::from(random_id()?));
            return Ok((Identity { cluster, node, founder: node }, Vec::new()));
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn ask(client: &reqwest::Client, address: &str) -> Option<ClusterInfo> {
    let answer = client.get(format!("http://{address}/internal/v1/cluster")).send().await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

/// Asks the given addresses to make this start known to the leader, until one says that it is.
///
/// # Errors
/// The cluster is another one, or refuses this node's name.
pub async fn join(
    member: &Member,
    identity: Identity,
    settings: &Settings,
    addresses: &[String],
    log: &logdb::Log,
) -> Result<Vec<Member>, AdmitError> {
    let client = client(settings)?;
    let mut refusals = Refusals::default();
    let mut taken_since: Option<Instant> = None;
    loop {
        for address in addresses {
            let Some(info) = ask(&client, address).await else { continue };
            if info.ids().is_some_and(|(cluster, _)| cluster != identity.cluster) {
                return Err(AdmitError::OtherCluster {
                    address: address.clone(),
                    theirs: info.cluster,
                    ours: identity.cluster,
                    folder: settings.data.display().to_string(),
                });
            }
            let asked = match ask_to_join(&client, address, member, settings.cluster_key.as_ref()).await {
                Ok(asked) => asked,
                Err(refused) => {
                    if taken_since.get_or_insert_with(Instant::now).elapsed() >= NAME {
                        return Err(refused);
                    }
                    continue;
                }
            };
            taken_since = None;
            match asked {
                Asked::Joined(members) => return Ok(members),
                Asked::NotYet => {}
                Asked::Unproven(why) => {
                    let line = format!("joining through {address} was refused: {why}");
                    if refusals.is_news(&line, std::time::Instant::now()) {
                        log.record(logdb::Level::Warn, "join-refused", None, &line);
                    }
                }
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// What became of one try to join.
enum Asked {
    /// The leader knows this start.
    Joined(Vec<Member>),
    /// Nobody could decide.
    NotYet,
    /// The other side has another cluster key, or wants another token.
    Unproven(String),
}

async fn ask_to_join(
    client: &reqwest::Client,
    address: &str,
    member: &Member,
    key: Option<&ClusterKey>,
) -> Result<Asked, AdmitError> {
    let url = format!("http://{address}/internal/v1/join");
    let Ok(body) = serde_json::to_vec(&MemberInfo::from(member)) else { return Ok(Asked::NotYet) };
    let mut request = client.post(url).header(CONTENT_TYPE, "application/json");
    if let Some(proof) = key.and_then(|key| key.prove(&body)) {
        request = request.header(PROOF, proof);
    }
    let Ok(answer) = request.body(body).send().await else { return Ok(Asked::NotYet) };
    let status = answer.status();
    if status.is_success() {
        let info: Option<ClusterInfo> = answer.json().await.ok();
        let members = info.map(|info| info.members.iter().filter_map(MemberInfo::member).collect());
        return Ok(members.map_or(Asked::NotYet, Asked::Joined));
    }
    if matches!(status, reqwest::StatusCode::FORBIDDEN | reqwest::StatusCode::UNAUTHORIZED) {
        let why = answer.text().await.unwrap_or_default();
        return Ok(Asked::Unproven(detail(&why)));
    }
    if status == reqwest::StatusCode::CONFLICT {
        let why = answer.text().await.unwrap_or_default();
        return Err(AdmitError::Refused { address: address.to_string(), why: detail(&why) });
    }
    Ok(Asked::NotYet)
}

/// Why the cluster will not have this node, for people.
pub(crate) fn words(refusal: &protocol::Refusal) -> String {
    match refusal {
        protocol::Refusal::NameTaken { name } => {
            format!("the name {name} is borne by another live node; choose another --name")
        }
        other => format!("refused: {other:?}"),
    }
}

/// The `detail` of a problem document, or its text.
fn detail(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|problem| problem.get("detail").and_then(|d| d.as_str()).map(ToString::to_string))
        .unwrap_or_else(|| body.chars().take(300).collect())
}
