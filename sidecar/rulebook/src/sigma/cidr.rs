//! Networks as regexes: takes `10.0.0.0/8`, gives a pattern for the addresses in it, because rules compare texts.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A regex that matches a whole address of the network.
///
/// # Errors
/// If it is no network, or an IPv6 network whose addresses cannot be told by how they are usually written.
pub(super) fn regex(network: &str) -> Result<String, String> {
    let (address, bits) = network.split_once('/').unwrap_or((network, ""));
    let wrong = || format!("`{network}` is not a network such as 10.0.0.0/8");
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        let bits: u32 = if bits.is_empty() { 32 } else { bits.parse().map_err(|_| wrong())? };
        return if bits > 32 { Err(wrong()) } else { Ok(v4(address, bits)) };
    }
    let address = address.parse::<Ipv6Addr>().map_err(|_| wrong())?;
    let bits: u32 = if bits.is_empty() { 128 } else { bits.parse().map_err(|_| wrong())? };
    if bits > 128 {
        return Err(wrong());
    }
    v6(address, bits).ok_or_else(|| {
        format!("IPv6 network `{network}`: only whole addresses and prefixes of up to 16 bits can be compared as text")
    })
}

fn v4(address: Ipv4Addr, bits: u32) -> String {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    let (low, high) = (u32::from(address) & mask, u32::from(address) | !mask);
    let octets: Vec<String> = low
        .to_be_bytes()
        .into_iter()
        .zip(high.to_be_bytes())
        .map(|(low, high)| match (low, high) {
            (0, 255) => r"\d{1,3}".to_owned(),
            (low, high) if low == high => low.to_string(),
            (low, high) => {
                let numbers: Vec<String> = (low..=high).map(|number| number.to_string()).collect();
                format!("(?:{})", numbers.join("|"))
            }
        })
        .collect();
    format!("^{}$", octets.join(r"\."))
}

/// The first group of an address has four digits only if its first digit is not 0: such prefixes show in the text.
fn v6(address: Ipv6Addr, bits: u32) -> Option<String> {
    if bits == 128 {
        return Some(format!("^{}$", regex_syntax::escape(&address.to_string())));
    }
    let first = address.segments()[0];
    if !(4..=16).contains(&bits) || first >> 12 == 0 {
        return None;
    }
    let mask = u16::MAX << (16 - bits);
    let (low, high) = (first & mask, first | !mask);
    let digits: String = (0..4)
        .map(|place| {
            let digit = |number: u16| (number >> (12 - 4 * place)) & 15;
            match (digit(low), digit(high)) {
                (0, 15) => "[0-9a-f]".to_owned(),
                (low, high) if low == high => format!("{low:x}"),
                (low, high) => {
                    let digits: String = (low..=high).map(|digit| format!("{digit:x}")).collect();
                    format!("[{digits}]")
                }
            }
        })
        .collect();
    Some(format!("^{digits}:"))
}

#[cfg(test)]
mod tests {
    use super::regex;

    #[test]
    fn addresses_are_told_by_their_text() {
        assert_eq!(regex("10.0.0.0/8").unwrap(), r"^10\.\d{1,3}\.\d{1,3}\.\d{1,3}$");
        assert_eq!(regex("192.168.4.0/22").unwrap(), r"^192\.168\.(?:4|5|6|7)\.\d{1,3}$");
        assert_eq!(regex("1.2.3.4").unwrap(), r"^1\.2\.3\.4$");
        assert_eq!(regex("0.0.0.0/0").unwrap(), r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$");
        assert_eq!(regex("::1/128").unwrap(), "^::1$");
        assert_eq!(regex("fc00::/7").unwrap(), "^f[cd][0-9a-f][0-9a-f]:");
        assert_eq!(regex("fe80::/10").unwrap(), "^fe[89ab][0-9a-f]:");
        for wrong in ["2001:db8::/32", "10.0.0.0/33", "host", "::/0", "10.0.0.0/x"] {
            assert!(regex(wrong).is_err(), "{wrong}");
        }
        // The longest possible list of numbers still fits into a pattern.
        assert!(regex("128.0.0.0/1").unwrap().len() < 1_024);
    }
}
