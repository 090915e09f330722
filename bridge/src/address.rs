//! Where a socket of a bridge meets its peer: it binds where the host is `*` and connects anywhere else.

/// An address of ZeroMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    url: String,
    binds: bool,
}

/// It is no address a bridge can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {text:?}: {why}")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl Address {
    /// Reads `tcp://HOST:PORT`; where the host is `*`, the port may be `*` too: any free one.
    ///
    /// # Errors
    /// [`AddressError`], naming the text.
    pub fn read(text: &str) -> Result<Self, AddressError> {
        let fault = |why| AddressError { text: text.to_string(), why };
        let rest = text.strip_prefix("tcp://").ok_or(fault("must be tcp://HOST:PORT"))?;
        let (host, port) = rest.rsplit_once(':').ok_or(fault("must be tcp://HOST:PORT"))?;
        let binds = host == "*";
        let is_ipv6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (!is_ipv6 && host.contains(['/', ':', '[', ']'])) {
            return Err(fault("its host makes no sense (an IPv6 address stands in brackets)"));
        }
        let any = binds && port == "*";
        if !any && port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(fault("its port must be 1 to 65535"));
        }
        Ok(Self { url: text.to_string(), binds })
    }

    /// As ZeroMQ takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the bridge listens there.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.binds
    }

    /// Whether only IPv6 leads there.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.url.contains('[')
    }

    /// To be bound where a socket was bound before: the same port again, where it was any.
    pub(crate) fn bound_to(&self, endpoint: &str) -> Self {
        Self { url: endpoint.to_string(), binds: self.binds }
    }

    /// Binds or connects the socket, and says where it is.
    pub(crate) fn attach(&self, socket: &zmq::Socket) -> zmq::Result<String> {
        socket.set_ipv6(self.is_ipv6())?;
        if !self.binds {
            socket.connect(&self.url)?;
            return Ok(self.url.clone());
        }
        socket.bind(&self.url)?;
        // The number of a port that was `*`; what was given will do when it is no text.
        Ok(socket.get_last_endpoint()?.unwrap_or_else(|_| self.url.clone()))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_binds_and_any_other_host_is_connected_to() {
        for (text, binds) in [
            ("tcp://*:5560", true),
            ("tcp://*:*", true),
            ("tcp://10.0.0.1:5557", false),
            ("tcp://sink:5558", false),
            ("tcp://[::1]:5558", false),
        ] {
            assert_eq!(Address::read(text).map(|address| address.binds()), Ok(binds), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "sink:5558", "tcp://sink", "tcp://sink:0", "tcp://sink:*", "tcp://:1", "tcp://a/b:1"]
        {
            let error = Address::read(text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert!(Address::read("tcp://::1:5558").is_err(), "which colon is which?");
        assert!(Address::read("http://sink:80").is_err());
    }
}
