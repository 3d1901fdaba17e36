//! What several ranks tell each other in a zeroth-order step: one number a direction.
//!
//! Each rank measures the loss on its own samples; the mean of the derivatives is the derivative of the mean loss. The
//! sum is taken in the order of the ranks by the first of them, so that all get the same bits.

use crate::{Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Averages a number over ranks.
pub trait Exchange {
    /// The mean over all ranks, the same on each.
    ///
    /// # Errors
    /// A rank that cannot be reached.
    fn mean(&self, value: f64) -> Result<f64>;
}

/// One rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Exchange for Alone {
    fn mean(&self, value: f64) -> Result<f64> {
        Ok(value)
    }
}

/// Ranks as processes that reach each other over TCP: eight bytes to rank 0 and eight back.
pub struct Tcp {
    ranks: usize,
    /// At rank 0 the others in order, elsewhere rank 0.
    streams: Mutex<Vec<TcpStream>>,
    leads: bool,
}

/// How long a rank waits for the others to appear, and then for a number of theirs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks whether they are there.
const PAUSE: Duration = Duration::from_millis(50);

impl Tcp {
    /// Meets the other ranks at `address`, where rank 0 listens.
    ///
    /// # Errors
    /// [`Error::Config`] for a rank that is not below `ranks`, or others that do not come within ten minutes.
    pub fn join(address: &str, rank: usize, ranks: usize) -> Result<Self> {
        if rank >= ranks {
            return Err(config(format!("expected a rank below {ranks}, found {rank}")));
        }
        let streams = if rank == 0 { lead(address, ranks)? } else { vec![follow(address, rank)?] };
        for stream in &streams {
            stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(broken(address))?;
        }
        Ok(Tcp { ranks, streams: Mutex::new(streams), leads: rank == 0 })
    }
}

fn lead(address: &str, ranks: usize) -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind(address).map_err(broken(address))?;
    let mut others: Vec<Option<TcpStream>> = (1..ranks).map(|_| None).collect();
    listener.set_nonblocking(true).map_err(broken(address))?;
    let started = Instant::now();
    while others.iter().any(Option::is_none) {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock && started.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let missing = others.iter().filter(|rank| rank.is_none()).count();
                return Err(config(format!("expected {} other ranks at {address}, {missing} did not come", ranks - 1)));
            }
            Err(e) => return Err(broken(address)(e)),
        };
        let waits = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        waits.map_err(broken(address))?;
        let mut rank = [0; 8];
        stream.read_exact(&mut rank).map_err(broken(address))?;
        let rank = u64::from_le_bytes(rank) as usize;
        match others.get_mut(rank.wrapping_sub(1)) {
            Some(place) if place.is_none() => *place = Some(stream),
            _ => return Err(config(format!("expected each rank from 1 to {} once, found {rank}", ranks - 1))),
        }
    }
    Ok(others.into_iter().flatten().collect())
}

fn follow(address: &str, rank: usize) -> Result<TcpStream> {
    let started = Instant::now();
    loop {
        let addresses = address.to_socket_addrs().map_err(broken(address))?;
        match addresses.into_iter().find_map(|address| TcpStream::connect(address).ok()) {
            Some(mut stream) => {
                stream.write_all(&(rank as u64).to_le_bytes()).map_err(broken(address))?;
                return Ok(stream);
            }
            None if started.elapsed() > PATIENCE => return Err(config(format!("expected rank 0 at {address}"))),
            None => std::thread::sleep(PAUSE),
        }
    }
}

impl Exchange for Tcp {
    fn mean(&self, value: f64) -> Result<f64> {
        let mut streams = self.streams.lock().map_err(|_| config("an earlier exchange failed".into()))?;
        let fail = |e| broken("exchange")(e);
        let mut bytes = value.to_le_bytes();
        if !self.leads {
            let stream = &mut streams[0];
            stream.write_all(&bytes).and_then(|()| stream.read_exact(&mut bytes)).map_err(fail)?;
            return Ok(f64::from_le_bytes(bytes));
        }
        let mut sum = value;
        for stream in streams.iter_mut() {
            stream.read_exact(&mut bytes).map_err(fail)?;
            sum += f64::from_le_bytes(bytes);
        }
        let mean = sum / self.ranks as f64;
        for stream in streams.iter_mut() {
            stream.write_all(&mean.to_le_bytes()).map_err(fail)?;
        }
        Ok(mean)
    }
}

fn config(what: String) -> Error {
    Error::Config { key: "ranks".into(), what }
}

fn broken(at: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| config(format!("{at}: expected to reach the other ranks, found {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_get_the_same_mean() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free.to_string();
        let rank = |k: usize| {
            let address = address.clone();
            std::thread::spawn(move || {
                let tcp = Tcp::join(&address, k, 3).unwrap();
                [0.1, 1e-30, f64::NAN].map(|x| tcp.mean(x * (k as f64 + 1.0)).unwrap().to_bits())
            })
        };
        let ranks: Vec<_> = (0..3).map(rank).collect();
        let found: Vec<[u64; 3]> = ranks.into_iter().map(|r| r.join().unwrap()).collect();
        assert!(found[0] == found[1] && found[1] == found[2]);
        assert_eq!(f64::from_bits(found[0][0]), (0.1 + 0.2 + 0.1 * 3.0) / 3.0);
        assert!(f64::from_bits(found[0][2]).is_nan());
        assert!(Tcp::join("127.0.0.1:1", 3, 3).is_err());
    }
}
