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
/// How often a node that answered for another cluster is asked whether that was this one.
const RECOVERED_ROUNDS: u32 = 25;
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
    /// Ids of the clusters that it was before it was recovered by hand.
    #[serde(default)]
    pub former: Vec<String>,
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

    /// Whether it was that cluster until it was recovered by hand.
    fn was(&self, cluster: ClusterId) -> bool {
        self.former.contains(&cluster.to_string())
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
    /// The cluster of the folder was recovered by hand from another node's disk.
    #[error(
        "{address} says that cluster {ours}, which the data folder {folder} belongs to, was recovered by hand and goes on as \
         cluster {theirs}. This node must not use its memory any more: `understudy repair --data {folder} --yes` sets the folder \
         aside, and with --join the node then joins as a new one"
    )]
    Recovered {
        /// Who said so.
        address: String,
        /// The cluster now.
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

/// A node that is a member already, before it asks to be known.
pub(crate) struct Arrival<'a> {
    pub(crate) member: Member,
    pub(crate) identity: Identity,
    /// The clusters that its own was before it was recovered by hand.
    pub(crate) former: Vec<ClusterId>,
    pub(crate) settings: &'a Settings,
    pub(crate) log: &'a logdb::Log,
}

impl Arrival<'_> {
    /// Why a node of another cluster is the end of this one's start. None: it belongs to what this cluster was before.
    fn objection(&self, address: &str, info: &ClusterInfo) -> Option<AdmitError> {
        let (theirs, _) = info.ids()?;
        if theirs == self.identity.cluster || self.former.contains(&theirs) {
            return None;
        }
        Some(other_cluster(self.identity.cluster, self.settings, address, info))
    }
}

fn other_cluster(ours: ClusterId, settings: &Settings, address: &str, info: &ClusterInfo) -> AdmitError {
    let (address, theirs) = (address.to_string(), info.cluster.clone());
    let folder = settings.data.display().to_string();
    if info.was(ours) {
        AdmitError::Recovered { address, theirs, ours, folder }
    } else {
        AdmitError::OtherCluster { address, theirs, ours, folder }
    }
}

/// Asks one address, for a while, whether the cluster of this folder was recovered by hand from another node's disk.
pub(crate) async fn recovered_at(
    identity: Identity,
    settings: &Settings,
    address: &str,
) -> Option<AdmitError> {
    let client = client(settings).ok()?;
    for _ in 0..RECOVERED_ROUNDS {
        if let Some(info) = ask(&client, address).await {
            let was_ours = info.was(identity.cluster);
            return was_ours.then(|| other_cluster(identity.cluster, settings, address, &info));
        }
        tokio::time::sleep(ROUND).await;
    }
    None
}

/// The same of all addresses at once and only once: whoever comes back to a cluster that was recovered without it must not
/// find others like itself first.
async fn recovered_anywhere(
    arrival: &Arrival<'_>,
    client: &reqwest::Client,
    addresses: &[String],
) -> Option<AdmitError> {
    let asked = addresses.iter().map(|address| async move { (address, ask(client, address).await) });
    let told = futures_util::future::join_all(asked).await;
    let mut told = told.into_iter().filter_map(|(address, info)| Some((address, info?)));
    let ours = arrival.identity.cluster;
    told.find(|(_, info)| info.was(ours))
        .map(|(address, info)| other_cluster(ours, arrival.settings, address, &info))
}

/// Asks the given addresses to make this start known to the leader, until one says that it is.
///
/// # Errors
/// The cluster is another one, or refuses this node's name.
pub(crate) async fn join(arrival: Arrival<'_>, addresses: &[String]) -> Result<Vec<Member>, AdmitError> {
    let Arrival { settings, log, .. } = arrival;
    let client = client(settings)?;
    if let Some(recovered) = recovered_anywhere(&arrival, &client, addresses).await {
        return Err(recovered);
    }
    let mut refusals = Refusals::default();
    let mut warn = |line: &str| {
        if refusals.is_news(line, std::time::Instant::now()) {
            log.record(logdb::Level::Warn, "join-refused", None, line);
        }
    };
    let mut taken_since: Option<Instant> = None;
    loop {
        for address in addresses {
            let Some(info) = ask(&client, address).await else { continue };
            if let Some(objection) = arrival.objection(address, &info) {
                return Err(objection);
            }
            if info.ids().is_some_and(|(cluster, _)| cluster != arrival.identity.cluster) {
                warn(&format!(
                    "the node at {address} still belongs to cluster {}, which this one was before it was recovered by hand: end it \
                     and set its folder aside with `understudy repair`",
                    info.cluster
                ));
                continue;
            }
            let asked = ask_to_join(&client, address, &arrival.member, settings.cluster_key.as_ref()).await;
            let asked = match asked {
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
                Asked::Unproven(why) => warn(&format!("joining through {address} was refused: {why}")),
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
