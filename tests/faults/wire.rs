//! The line between an adapter and the gateway, and where the adapter is.
//!
//! Where network namespaces are allowed, an adapter lives in one of its own, on two wires: one to the gateway, which faults
//! are done to, and one to its agency. A cut wire loses packets and says nothing, as a cut line does; connections may live
//! through it. Elsewhere a proxy in between drops connections, or carries one direction only.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::disk::run;
use crate::line::{Condition, Line};

/// The port that the gateway listens on.
const BUS: u16 = 7443;

/// Where an adapter in a namespace of its own listens for its agency.
pub(crate) const REST: u16 = 8480;

/// One adapter's line.
pub(crate) enum Wire {
    Proxy(Line),
    Veth(Veth),
}

/// Two wires into a namespace, `10.201.<number>.0/30` to the gateway and `10.202.<number>.0/30` to the agency.
pub(crate) struct Veth {
    number: u8,
    namespace: String,
    /// Open once the wires are there.
    door: Option<Door>,
}

/// Lets the campaign, which is on the agency's side, speak with an adapter that answers its own machine only.
struct Door {
    shut: CancellationToken,
    keeper: Option<JoinHandle<()>>,
}

impl Wire {
    /// The line of an adapter by number, to the gateway at `far`.
    pub(crate) async fn lay(number: u8, far: SocketAddr, namespaces: bool) -> anyhow::Result<Self> {
        if !namespaces {
            return Ok(Self::Proxy(Line::to(far, Condition::Sound).await));
        }
        let mut veth = Veth { number, namespace: format!("adapter-{number}"), door: None };
        veth.lay()?;
        veth.door = Some(Door::open(&veth.namespace, (adapter_end(number), REST).into())?);
        Ok(Self::Veth(veth))
    }

    /// Where the adapter finds the gateway.
    pub(crate) fn near(&self) -> SocketAddr {
        match self {
            Self::Proxy(line) => line.near,
            Self::Veth(veth) => (veth.address(201, 1), BUS).into(),
        }
    }

    /// Changes how it is.
    pub(crate) fn set(&self, condition: Condition) -> anyhow::Result<()> {
        match self {
            Self::Proxy(line) => line.set(condition),
            Self::Veth(veth) => veth.set(condition)?,
        }
        Ok(())
    }

    /// What runs a program where the adapter is.
    pub(crate) fn prefix(&self) -> Vec<String> {
        match self {
            Self::Proxy(_) => Vec::new(),
            Self::Veth(veth) => ["ip", "netns", "exec", &veth.namespace].map(str::to_owned).into(),
        }
    }
}

/// The gateway's end of an adapter's line, for its certificate.
pub(crate) fn gateway_end(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 201, number, 1)
}

/// The adapter's end of the wire to its agency.
pub(crate) fn adapter_end(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 202, number, 2)
}

/// The agency's end of that.
pub(crate) fn agency_end(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 202, number, 1)
}

/// Whether wires can be laid here: we are in a network namespace of our own, and may make more.
pub(crate) fn possible() -> Result<(), String> {
    if std::env::var_os(crate::OWN_NETWORK).is_none() {
        return Err("no network namespaces here".to_owned());
    }
    let probe = Veth { number: 99, namespace: "adapter-99".to_owned(), door: None };
    let laid = probe.lay();
    drop(probe);
    laid.map_err(|error| format!("{error:#}"))
}

impl Veth {
    fn address(&self, network: u8, end: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, network, self.number, end)
    }

    fn lay(&self) -> anyhow::Result<()> {
        ip(&format!("netns add {}", self.namespace))?;
        ip(&format!("-n {} link set lo up", self.namespace))?;
        for (name, network) in [("line", 201), ("desk", 202)] {
            let (number, space) = (self.number, &self.namespace);
            let [ours, theirs] = [1, 2].map(|end| self.address(network, end));
            ip(&format!("link add {name}{number} type veth peer name {name} netns {space}"))?;
            ip(&format!("addr add {ours}/30 dev {name}{number}"))?;
            ip(&format!("-n {space} addr add {theirs}/30 dev {name}"))?;
            ip(&format!("link set {name}{number} up"))?;
            ip(&format!("-n {space} link set {name} up"))?;
        }
        Ok(())
    }

    fn set(&self, condition: Condition) -> anyhow::Result<()> {
        let adapter = self.address(201, 2);
        match condition {
            Condition::Cut => ip(&format!("link set line{} down", self.number)),
            // What the adapter says arrives; the answers find no way back.
            Condition::Deaf => ip(&format!("route replace blackhole {adapter}/32")),
            Condition::Sound => {
                // Only one of the two was done, so one of these has nothing to undo.
                let _ = ip(&format!("route del blackhole {adapter}/32"));
                ip(&format!("link set line{} up", self.number))
            }
        }
    }
}

impl Door {
    /// Opens it: whoever comes to `at`, an address in the namespace, is led to the adapter's own.
    fn open(namespace: &str, at: SocketAddr) -> anyhow::Result<Self> {
        let place = File::open(format!("/run/netns/{namespace}"))?;
        let shut = CancellationToken::new();
        let (told, is_open) = mpsc::channel();
        let until = shut.clone();
        // A thread moves alone, and whatever it opens is in the namespace with it.
        let keeper = std::thread::spawn(move || {
            let moved = move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network));
            let runtime = moved
                .context("setns")
                .and_then(|()| Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?));
            match runtime {
                Ok(runtime) => runtime.block_on(lead(at, until, told)),
                Err(error) => drop(told.send(Err(error))),
            }
        });
        is_open.recv().context("the door's keeper is gone")??;
        Ok(Self { shut, keeper: Some(keeper) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut.cancel();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

async fn lead(at: SocketAddr, until: CancellationToken, told: mpsc::Sender<anyhow::Result<()>>) {
    let listener = match TcpListener::bind(at).await {
        Ok(listener) => listener,
        Err(error) => return drop(told.send(Err(error.into()))),
    };
    drop(told.send(Ok(())));
    loop {
        let come = tokio::select! {
            come = listener.accept() => come,
            () = until.cancelled() => return,
        };
        let Ok((mut outside, _)) = come else { continue };
        tokio::spawn(async move {
            // A dead adapter takes nobody: whoever came sees the connection end.
            if let Ok(mut inside) = TcpStream::connect((Ipv4Addr::LOCALHOST, REST)).await {
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        self.door = None;
        // The wires would go with the namespace, but that goes when the kernel comes to it, and the next of this number may be sooner.
        for name in ["line", "desk"] {
            let _ = ip(&format!("link del {name}{}", self.number));
        }
        let _ = ip(&format!("netns del {}", self.namespace));
    }
}

fn ip(words: &str) -> anyhow::Result<()> {
    run("ip", [], words.split(' ').collect::<Vec<_>>().as_slice())
}
