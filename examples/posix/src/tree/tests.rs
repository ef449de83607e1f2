use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A directory of this test's own, removed with everything in it at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("idhini-posix-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn file(&self, name: &str, mode: u32) {
        fs::write(self.0.join(name), "").unwrap();
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn directory(&self, name: &str) {
        fs::create_dir(self.0.join(name)).unwrap();
    }

    fn link(&self, name: &str, text: &str) {
        symlink(text, self.0.join(name)).unwrap();
    }

    fn read(&self) -> Tree {
        let all = IdMap::read("0 0 4294967295");
        let mut tree = Tree::new(&all, &all);
        tree.read(&self.0, Area::Made, None, |_| ()).unwrap();
        tree.resolve_links();
        tree.count_limits();
        tree
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn find<'a>(tree: &'a Tree, scratch: &Scratch, name: &str) -> &'a Inode {
    &tree.inodes[tree.by_path[&scratch.0.join(name)]]
}

fn steps(tree: &Tree, scratch: &Scratch, name: &str) -> (Vec<String>, String) {
    let Kind::Link { steps, target } = &find(tree, scratch, name).kind else {
        panic!("{name} is {:?}", find(tree, scratch, name).kind)
    };
    let relative = |place: usize| {
        let path = &tree.inodes[place].path;
        path.strip_prefix(&scratch.0).map_or(path.as_path(), |inside| inside).display().to_string()
    };
    (steps.iter().map(|step| relative(*step)).collect(), relative(*target))
}

#[test]
fn parents_come_first_and_lead_to_the_root_directory() {
    let scratch = Scratch::new("parents");
    scratch.directory("a");
    scratch.directory("a/b");
    scratch.file("a/b/c", 0o640);
    let tree = scratch.read();
    assert_eq!(tree.inodes[0].path, Path::new("/"));
    for (place, inode) in tree.inodes.iter().enumerate().skip(1) {
        assert!(inode.parent < place);
        assert_eq!(inode.path.parent(), Some(tree.inodes[inode.parent].path.as_path()));
    }
    assert_eq!(find(&tree, &scratch, "a/b/c").facts.mode, 0o100_640);
    assert_eq!(find(&tree, &scratch, "a/b/c").area, Area::Made);
    assert_eq!(tree.inodes[0].area, Area::Way);
}

#[test]
fn what_is_below_the_excepted_path_is_not_read() {
    let scratch = Scratch::new("except");
    scratch.directory("in");
    scratch.directory("out");
    scratch.file("out/file", 0o600);
    let all = IdMap::read("0 0 4294967295");
    let mut tree = Tree::new(&all, &all);
    tree.read(&scratch.0, Area::Roots, Some(&scratch.0.join("out")), |_| ()).unwrap();
    assert!(tree.by_path.contains_key(&scratch.0.join("in")));
    assert!(!tree.by_path.keys().any(|path| path.starts_with(scratch.0.join("out"))));
}

#[test]
fn names_that_are_no_text_are_read_and_too_long_ones_counted() {
    let scratch = Scratch::new("names");
    fs::write(scratch.0.join(OsStr::from_bytes(b"\xff\n *#@:=")), "").unwrap();
    let long = ".".repeat(200);
    let mut deep = scratch.0.clone();
    for _ in 0..3 {
        deep.push(format!("x{long}"));
        fs::create_dir(&deep).unwrap();
    }
    let tree = scratch.read();
    assert!(tree.by_path.contains_key(&scratch.0.join(OsStr::from_bytes(b"\xff\n *#@:="))));
    assert_eq!(tree.excluded.get(&Exclusion::LongId), Some(&1));
}

mod links {
    use super::*;

    #[test]
    fn a_link_needs_the_directory_that_holds_it_and_the_one_it_looks_into() {
        let scratch = Scratch::new("link-down");
        scratch.directory("a");
        scratch.directory("b");
        scratch.file("b/target", 0o644);
        scratch.link("a/link", "../b/target");
        let tree = scratch.read();
        assert_eq!(
            steps(&tree, &scratch, "a/link"),
            (vec!["a".into(), String::new(), "b".into()], "b/target".into())
        );
    }

    #[test]
    fn a_detour_through_another_directory_counts() {
        let scratch = Scratch::new("link-detour");
        scratch.directory("a");
        scratch.file("target", 0o644);
        scratch.link("link", "a/../target");
        let tree = scratch.read();
        assert_eq!(steps(&tree, &scratch, "link"), (vec![String::new(), "a".into()], "target".into()));
    }

    #[test]
    fn a_link_through_a_link_goes_both_ways() {
        let scratch = Scratch::new("link-chain");
        scratch.directory("a");
        scratch.directory("b");
        scratch.file("b/target", 0o644);
        scratch.link("a/first", "../second/target");
        scratch.link("second", "b/");
        let tree = scratch.read();
        assert_eq!(
            steps(&tree, &scratch, "a/first"),
            (vec!["a".into(), String::new(), "b".into()], "b/target".into())
        );
        assert_eq!(steps(&tree, &scratch, "second"), (vec![String::new()], "b".into()));
    }

    #[test]
    fn an_absolute_link_starts_at_the_root_directory() {
        let scratch = Scratch::new("link-absolute");
        scratch.link("link", "/");
        let tree = scratch.read();
        assert_eq!(steps(&tree, &scratch, "link"), (vec![String::new()], "/".into()));
    }

    #[test]
    fn circles_holes_and_slashes_behind_files_lead_nowhere() {
        let scratch = Scratch::new("link-lost");
        scratch.file("file", 0o644);
        scratch.link("circle", "ring");
        scratch.link("ring", "circle");
        scratch.link("hole", "missing");
        scratch.link("slash", "file/");
        scratch.link("through", "file/x");
        let tree = scratch.read();
        assert_eq!(tree.excluded.get(&Exclusion::DanglingLink), Some(&5));
        assert_eq!(find(&tree, &scratch, "slash").kind, Kind::LostLink);
    }

    #[test]
    fn a_link_to_another_file_system_is_not_asked_about() {
        let scratch = Scratch::new("link-out");
        scratch.link("link", "/proc/self/status");
        assert_eq!(scratch.read().excluded.get(&Exclusion::LinkOut), Some(&1));
    }

    #[test]
    fn a_link_in_a_sticky_directory_is_left_to_the_kernels_own_rule() {
        let scratch = Scratch::new("link-sticky");
        scratch.directory("sticky");
        scratch.file("target", 0o644);
        scratch.link("sticky/link", "../target");
        fs::set_permissions(scratch.0.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(scratch.read().excluded.get(&Exclusion::StickyLink), Some(&1));
    }
}
