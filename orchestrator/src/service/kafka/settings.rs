//! The section `[kafka]` of `service.toml`.

use std::path::Path;

use amore_kafka::{
    Connection, EventRule,
    connection::{Sasl, Tls},
};
use serde::Deserialize;

/// DAMNIT's variable for another broker, or `none`.
const BROKER: &str = "AMORE_BROKER";

/// What can be configured of Kafka.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port` of some brokers. Without any, Kafka is not used.
    brokers: Vec<String>,
    /// Whether to receive events about runs.
    listen: bool,
    /// Whether to publish updates for DAMNIT's interface.
    publish: bool,
    /// The group that keeps what was received; by default it is named after the service's directory.
    group: Option<String>,
    /// The events; by default EuXFEL's.
    events: Option<Vec<EventRule>>,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            brokers: Vec::new(),
            listen: true,
            publish: true,
            group: None,
            events: None,
            tls: None,
            sasl: None,
        }
    }
}

/// What is to be done with Kafka.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Receive events about runs.
    pub listen: Option<Listen>,
    /// Publish updates there.
    pub publish: Option<Connection>,
}

/// What to receive.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    pub connection: Connection,
    pub group: String,
    pub events: Vec<EventRule>,
}

impl Listen {
    /// The topics of the events.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.events.iter().map(|rule| rule.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }
}

/// DAMNIT's variable of the environment, if it is set.
pub fn broker_of_environment() -> Option<String> {
    std::env::var(BROKER).ok()
}

impl KafkaSettings {
    /// What is wrong with it, if something is.
    pub fn problem(&self) -> Option<String> {
        let is_host_and_port = |broker: &str| {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        if let Some(broker) = self.brokers.iter().find(|broker| !is_host_and_port(broker)) {
            return Some(format!("kafka.brokers must be \"host:port\", not {broker:?}"));
        }
        if self.group.as_deref() == Some("") {
            return Some("kafka.group must not be empty".to_owned());
        }
        if self.events.as_ref().is_some_and(Vec::is_empty) {
            return Some(
                "kafka.events must not be empty; to receive none, set kafka.listen = false".to_owned(),
            );
        }
        None
    }

    /// What follows for the service of this directory on this host. `broker`: DAMNIT's variable of the environment.
    pub fn plan(&self, directory: &Path, host: &str, broker: Option<&str>) -> Plan {
        let brokers = match broker {
            Some("none") => Vec::new(),
            Some(broker) if !broker.is_empty() => vec![broker.to_owned()],
            _ => self.brokers.clone(),
        };
        if brokers.is_empty() {
            return Plan::default();
        }
        let connection =
            Connection { brokers, tls: self.tls.clone(), sasl: self.sasl.clone() }.below(directory);
        let listen = self.listen.then(|| Listen {
            connection: connection.clone(),
            group: self.group.clone().unwrap_or_else(|| group_of(directory)),
            events: self.events.clone().unwrap_or_else(|| euxfel(host)),
        });
        Plan { listen, publish: self.publish.then_some(connection) }
    }
}

/// As DAMNIT does it, with a name of our own: DAMNIT's listener and this service both get all events.
fn group_of(directory: &Path) -> String {
    format!("amore{}", directory.display().to_string().replace('/', "_"))
}

/// On the hosts of the online cluster, runs are processed before their data are migrated.
fn euxfel(host: &str) -> Vec<EventRule> {
    if host.starts_with("exflonc") { EventRule::euxfel_online() } else { EventRule::euxfel_offline() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, host: &str, broker: Option<&str>) -> Plan {
        let settings: KafkaSettings = toml::from_str(text).unwrap();
        assert_eq!(settings.problem(), None);
        settings.plan(Path::new("/srv/amore"), host, broker)
    }

    #[test]
    fn without_brokers_kafka_is_not_used() {
        assert_eq!(plan("", "max1", None), Plan::default());
        assert_eq!(plan(r#"brokers = ["b:9092"]"#, "max1", Some("none")), Plan::default());
    }

    #[test]
    fn the_defaults_are_those_of_euxfel() {
        let offline = plan(r#"brokers = ["b:9092"]"#, "max-exfl001", None);
        let listen = offline.listen.unwrap();
        assert_eq!(listen.group, "amore_srv_amore");
        assert_eq!(listen.topics(), ["cal.offline-corrections", "test.r2d2"]);
        assert_eq!(offline.publish.unwrap().brokers, ["b:9092"]);
        let online = plan("", "exflonc12", Some("c:9092")).listen.unwrap();
        assert_eq!(online.topics(), ["test.euxfel.hed.cal", "test.euxfel.hed.daq"]);
        assert_eq!(online.connection.brokers, ["c:9092"]);
    }

    #[test]
    fn everything_can_be_configured() {
        let text = r#"
            brokers = ["b1:9093", "b2:9093"]
            publish = false
            group = "g"
            [[events]]
            topic = "runs"
            event = "done"
            data = "proc"
            [tls]
            ca = "ca.pem"
            [sasl]
            mechanism = "SCRAM-SHA-512"
            username = "amore"
            password_file = "/etc/amore/kafka"
        "#;
        let all = plan(text, "h", None);
        assert_eq!(all.publish, None);
        let listen = all.listen.unwrap();
        assert_eq!((listen.group.as_str(), listen.topics()), ("g", vec!["runs".to_owned()]));
        let tls = listen.connection.tls.unwrap();
        assert_eq!(tls.ca.as_deref(), Some(Path::new("/srv/amore/ca.pem")), "relative to the directory");
        assert_eq!(listen.connection.sasl.unwrap().password_file, Path::new("/etc/amore/kafka"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            (r#"brokers = ["b"]"#, "\"b\""),
            (r#"brokers = [":9092"]"#, "host:port"),
            ("group = \"\"", "kafka.group"),
            ("events = []", "kafka.events"),
        ] {
            let settings: KafkaSettings = toml::from_str(text).unwrap();
            assert!(settings.problem().unwrap().contains(word), "{text}");
        }
        assert!(toml::from_str::<KafkaSettings>("broker = []").is_err());
        assert!(toml::from_str::<KafkaSettings>("[sasl]\nmechanism = \"GSSAPI\"").is_err());
    }
}
