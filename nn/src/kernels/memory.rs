//! The allocator setting that training on the CPU needs.

/// Tells glibc to keep freed blocks instead of giving them back to the system after every tensor: page faults for
/// fresh blocks otherwise cost more than most operations. The first of them lie in huge pages where the system has such,
/// which spares a train step of stage 1 some 4 % (docs/performance.md). For the main function of a program;
/// a library must not decide this for its user. Does nothing with another C library.
pub fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes tunables of the allocator, and madvise how the system backs addresses that the allocator
    // has just got; called before threads start.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, RESERVED);
        // More than is left of what the allocator has: it gets more, and what it reserves follows this block.
        let block = libc::malloc(HUGE_PAGE);
        let start = (block as usize).next_multiple_of(HUGE_PAGE);
        let length = (libc::sbrk(0) as usize).saturating_sub(start) / HUGE_PAGE * HUGE_PAGE;
        if !block.is_null() && length > 0 && length <= 2 * RESERVED as usize {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_HUGEPAGE);
        }
        libc::free(block);
    }
}

/// Bytes that the allocator asks the system for at a time: addresses, which cost nothing until they are used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RESERVED: i32 = 256 << 20;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HUGE_PAGE: usize = 2 << 20;

/// The largest resident memory of this process so far, MB; `None` where /proc does not tell.
pub fn peak_resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
}
