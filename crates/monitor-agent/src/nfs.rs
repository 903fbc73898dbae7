//! What this host's NFS client called (collector `nfs`): `/proc/net/rpc/nfs`,
//! written by `net/sunrpc/stats.c`; the order of the procedures is that of
//! `fs/nfs/nfs{2,3,4}xdr.c`, their names are node_exporter's, and so is the order
//! of `GetDeviceInfo` and `LayoutGet`.

use crate::files::{Files, finite};
use crate::text::{Text, Type};
use crate::{Fault, odd};

const V2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create",
    "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

const V3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

const V4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// The line's first word, the label `proto`, the procedures.
const PROCEDURES: [(&str, &str, &[&str]); 3] =
    [("proc2", "2", &V2), ("proc3", "3", &V3), ("proc4", "4", &V4)];

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let file = "net/rpc/nfs";
    let content = files.proc(file)?;
    let mut net = [0.0; 4];
    let mut rpc = [0.0; 3];
    let mut requests: [Vec<f64>; 3] = Default::default();
    for line in content.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        let Some(numbers) = words.map(finite).collect::<Option<Vec<f64>>>() else {
            let line = line.to_owned();
            return Err(odd(files, file, &line));
        };
        match key {
            "net" => net.iter_mut().zip(&numbers).for_each(|(to, from)| *to = *from),
            "rpc" => rpc.iter_mut().zip(&numbers).for_each(|(to, from)| *to = *from),
            _ => {
                if let Some(at) = PROCEDURES.iter().position(|(word, ..)| *word == key) {
                    // The first number is how many follow.
                    requests[at] = numbers.into_iter().skip(1).collect();
                }
            }
        }
    }
    let name = "node_nfs_packets_total";
    text.family(name, Type::Counter, "Total NFSd network packets (sent+received) by protocol type.");
    text.sample(name, &[("protocol", "udp")], net[1]);
    text.sample(name, &[("protocol", "tcp")], net[2]);
    let mut counter = |name: &str, help: &str, value: f64| text.single(name, Type::Counter, help, value);
    counter("node_nfs_connections_total", "Total number of NFSd TCP connections.", net[3]);
    counter("node_nfs_rpcs_total", "Total number of RPCs performed.", rpc[0]);
    let help = "Number of RPC transmissions performed.";
    counter("node_nfs_rpc_retransmissions_total", help, rpc[1]);
    let help = "Number of RPC authentication refreshes performed.";
    counter("node_nfs_rpc_authentication_refreshes_total", help, rpc[2]);
    let name = "node_nfs_requests_total";
    text.family(name, Type::Counter, "Number of NFS procedures invoked.");
    for ((_, proto, procedures), counts) in PROCEDURES.iter().zip(&requests) {
        // An older kernel knows fewer procedures of version 4: none were called.
        for (at, method) in procedures.iter().enumerate() {
            let value = counts.get(at).copied().unwrap_or(0.0);
            text.sample(name, &[("method", method), ("proto", proto)], value);
        }
    }
    Ok(())
}
