//! Threads, barriers, channels, condition variables and unwinding; ends with status 7.
use std::collections::BTreeMap;
use std::sync::{Arc, Barrier, Condvar, Mutex, atomic::*, mpsc};
use std::thread;

fn main() {
    let sum = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(4));
    let (tx, rx) = mpsc::channel();
    let threads: Vec<_> = (0..4u64)
        .map(|i| {
            let (sum, barrier, tx) = (sum.clone(), barrier.clone(), tx.clone());
            thread::spawn(move || {
                for _ in 0..10000 {
                    sum.fetch_add(i, Ordering::SeqCst);
                }
                barrier.wait();
                tx.send(i * i).unwrap();
            })
        })
        .collect();
    drop(tx);
    for t in threads {
        t.join().unwrap();
    }
    println!("{} {}", sum.load(Ordering::SeqCst), rx.iter().sum::<u64>());
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let turns = move |pair: Arc<(Mutex<i32>, Condvar)>, mine: i32| {
        for _ in 0..500 {
            let mut n = pair.0.lock().unwrap();
            while *n % 2 != mine {
                n = pair.1.wait(n).unwrap();
            }
            *n += 1;
            pair.1.notify_one();
        }
    };
    let other = pair.clone();
    let t = thread::spawn(move || turns(other, 1));
    turns(pair.clone(), 0);
    t.join().unwrap();
    let mut map = BTreeMap::new();
    for i in 0..50000u64 {
        *map.entry(i % 77).or_insert(0u64) += i;
    }
    println!("{} {:?}", pair.0.lock().unwrap(), map.last_key_value());
    std::panic::set_hook(Box::new(|_| println!("panic")));
    println!("{}", std::panic::catch_unwind(|| Vec::<i32>::new()[std::env::args().count()]).is_err());
    std::process::exit(7);
}

#[test]
fn adds() {
    assert_eq!(1 + 1, 2);
}
