//! Bodies about networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::EndpointSettings;

/// Body of `POST /networks/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateRequest {
    /// Name.
    pub name: Option<String>,
    /// Whether a name that is taken is refused, as it always is.
    pub check_duplicate: Option<bool>,
    /// Driver.
    pub driver: Option<String>,
    /// `local` or `swarm`.
    pub scope: Option<String>,
    /// Whether nothing leads out of it.
    pub internal: Option<bool>,
    /// Whether containers may join by hand when a swarm manages it.
    pub attachable: Option<bool>,
    /// Whether it is a swarm's routing mesh.
    pub ingress: Option<bool>,
    /// Whether it is a configuration for others.
    pub config_only: Option<bool>,
    /// Whose configuration it takes.
    pub config_from: Option<ConfigReference>,
    /// Whether it has IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Whether it has IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A network that is a configuration for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigReference {
    /// Its name.
    pub network: Option<String>,
}

/// Addresses of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// What manages them.
    pub driver: Option<String>,
    /// Options of that.
    pub options: Option<BTreeMap<String, String>>,
    /// The subnets.
    pub config: Option<Vec<IpamConfig>>,
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// Its addresses, such as `10.0.0.0/24`.
    pub subnet: Option<String>,
    /// The part that endpoints get addresses of.
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// Address of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Addresses that endpoints do not get, by what they are.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "Option::is_none")]
    pub auxiliary_addresses: Option<BTreeMap<String, String>>,
}

/// Answer to `POST /networks/create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateResponse {
    /// The network's id.
    pub id: String,
    /// What will not be as asked.
    pub warning: String,
}

/// Body of `POST /networks/{id}/connect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConnectRequest {
    /// The container.
    pub container: Option<String>,
    /// How it joins.
    pub endpoint_config: Option<EndpointSettings>,
}

/// Body of `POST /networks/{id}/disconnect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DisconnectRequest {
    /// The container.
    pub container: Option<String>,
    /// Whether the network may be gone.
    pub force: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_cli_sends_is_read() {
        let body = r#"{"CheckDuplicate":true,"Name":"n","Driver":"bridge","Scope":"",
            "EnableIPv6":false,"IPAM":{"Driver":"default","Options":{},
            "Config":[{"Subnet":"10.0.0.0/24","IPRange":"10.0.0.0/25","Gateway":"10.0.0.1",
            "AuxiliaryAddresses":{"router":"10.0.0.2"}}]},"Internal":false,"Attachable":false,
            "Ingress":false,"ConfigOnly":false,"ConfigFrom":null,"Options":{},"Labels":{}}"#;
        let request: CreateRequest = serde_json::from_str(body).unwrap();
        let config = &request.ipam.unwrap().config.unwrap()[0];
        assert_eq!(config.ip_range.as_deref(), Some("10.0.0.0/25"));
        assert_eq!(request.enable_ipv4, None);
        assert_eq!(request.enable_ipv6, Some(false));
    }
}
