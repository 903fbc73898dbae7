//! An allocator that counts, for benches and tests that promise to allocate nothing.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Const and without a destructor: reading it allocates nothing, at any time
    // of a thread's life.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks of it:
/// `#[global_allocator] static ALLOCATOR: Counting = Counting;`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Allocations and enlargements that this thread has asked for; 0 for ever where
/// [`Counting`] is not the program's allocator.
pub fn of_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

fn count() {
    COUNT.with(|count| count.set(count.get().wrapping_add(1)));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps
// the contract; counting touches no memory of the caller's and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; what we gave out came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_counts_and_release_does_not() {
        let layout = Layout::from_size_align(64, 8).unwrap();
        let before = of_this_thread();
        // SAFETY: the layout is not empty; each pointer is used once, as it was given.
        unsafe {
            let pointer = Counting.alloc(layout);
            assert!(!pointer.is_null());
            let pointer = Counting.realloc(pointer, layout, 128);
            assert!(!pointer.is_null());
            Counting.dealloc(pointer, Layout::from_size_align(128, 8).unwrap());
            let pointer = Counting.alloc_zeroed(layout);
            assert!(!pointer.is_null());
            Counting.dealloc(pointer, layout);
        }
        assert_eq!(of_this_thread() - before, 3);
    }
}
