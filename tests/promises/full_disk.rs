//! A full disk is said, with its remedy, and what runs goes on.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use testkit::site::Site;

/// A small file system of its own at a path; gone when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the folder");
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: what a failed test left running may still be in it.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_leaves_what_runs() {
    let site = Site::empty();
    let state = site.path("state");
    let Some(_disk) = SmallDisk::mount(&state, "48m") else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    site.write(
        "bastide.toml",
        "[site]\nname = \"small\"\nlisten = { https = \"127.0.0.1:0\", http = [] }\n\n[monitor]\nlisten = \"127.0.0.1:0\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n",
    );
    site.up();
    let revision = site.status()["revision"].clone();

    let ballast = state.join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    while file.write_all(&[7; 65_536]).is_ok() {}
    while file.write_all(&[7; 64]).is_ok() {}
    assert!(site.get("/").contains("small"), "the site is served");
    site.edit(|text| {
        format!("{text}\n[[route]]\npath = \"/new\"\nredirect = \"/\"\n")
            .replace("path = \"/*\"", "path = \"/x*\"")
    });
    let output = site.run(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk") || said.contains("No space left"), "{said}");
    assert!(site.get("/").contains("small"), "what runs is as it was");
    assert_eq!(site.status()["revision"], revision);

    drop(file);
    std::fs::remove_file(&ballast).expect("room again");
    site.ok(&["reload"]);
    assert_ne!(site.status()["revision"], revision);
    site.down();
}
