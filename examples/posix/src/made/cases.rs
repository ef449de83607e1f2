//! The hard cases, one function each.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::FileType;

use super::{MadeError, Maker, Spec};

const PLAIN_DIRECTORY: u32 = 0o755;
const DEPTH_MAX: usize = 12;

impl Maker<'_> {
    pub(super) fn everything(&mut self) -> Result<(), MadeError> {
        self.every_mode()?;
        self.class_denied_while_others_are_allowed()?;
        self.listed_but_not_searched()?;
        self.supplementary_groups()?;
        self.acl_named_users()?;
        self.acl_masks()?;
        self.acl_groups()?;
        self.acl_directories()?;
        self.executable_for_root()?;
        self.special_bits()?;
        self.ancestors()?;
        self.links()?;
        self.several_names()?;
        self.kinds_and_names()?;
        self.random()
    }

    fn case(&mut self, name: &str) -> Result<(), MadeError> {
        self.directory(name, &Spec::mode(0, 0, PLAIN_DIRECTORY))
    }

    /// All 512 modes, as files and as directories, owned by one of the cast.
    fn every_mode(&mut self) -> Result<(), MadeError> {
        self.case("every-mode-of-a-file")?;
        self.case("every-mode-of-a-directory")?;
        let (owner, group) = (self.cast.uid(0), self.cast.gid(0));
        for mode in (0..0o1000).step_by(self.size.mode_step) {
            self.file(format!("every-mode-of-a-file/{mode:03o}"), &Spec::mode(owner, group, mode))?;
            self.directory_with_file(
                format!("every-mode-of-a-directory/{mode:03o}"),
                &Spec::mode(owner, group, mode),
            )?;
        }
        Ok(())
    }

    fn class_denied_while_others_are_allowed(&mut self) -> Result<(), MadeError> {
        self.case("owner-denied")?;
        self.case("group-denied")?;
        self.case("owner-and-group-denied")?;
        for bits in 0..8_u32 {
            let number = usize::try_from(bits).unwrap_or(0);
            let (owner, group) = (self.cast.uid(number), self.cast.gid(number % 3));
            for (case, mode) in [
                ("owner-denied", bits << 6 | 0o077),
                ("group-denied", bits << 3 | 0o707),
                ("owner-and-group-denied", bits << 6 | bits << 3 | 0o007),
            ] {
                self.file(format!("{case}/file-{bits}"), &Spec::mode(owner, group, mode))?;
                self.directory_with_file(
                    format!("{case}/directory-{bits}"),
                    &Spec::mode(owner, group, mode),
                )?;
            }
        }
        // Denied by its group though it owns the directory around it, and the other way round.
        self.directory_with_file(
            "owner-denied/own-place",
            &Spec::mode(self.cast.uid(1), self.cast.gid(0), 0o077),
        )?;
        self.file("owner-denied/own-place/own", &Spec::mode(self.cast.uid(1), self.cast.gid(0), 0o777))
    }

    fn listed_but_not_searched(&mut self) -> Result<(), MadeError> {
        self.case("listed-not-searched")?;
        self.case("searched-not-listed")?;
        for (case, modes) in [
            ("listed-not-searched", [0o744, 0o444, 0o754, 0o745, 0o475, 0o666, 0o764]),
            ("searched-not-listed", [0o711, 0o111, 0o731, 0o713, 0o173, 0o333, 0o751]),
        ] {
            for mode in modes {
                let name = format!("{case}/{mode:o}");
                self.directory_with_file(&name, &Spec::mode(self.cast.uid(0), self.cast.gid(0), mode))?;
                self.directory_with_file(format!("{name}/open"), &Spec::mode(0, 0, 0o777))?;
                self.link(format!("{name}/link"), "open/inside")?;
            }
        }
        Ok(())
    }

    /// Nothing but one group may; many of the cast are in it only by their supplementary groups.
    fn supplementary_groups(&mut self) -> Result<(), MadeError> {
        self.case("supplementary-groups")?;
        let crowd = self.cast.accounts.iter().flat_map(|account| account.groups()).max().unwrap_or(0);
        let groups = (0..10).map(|number| self.cast.gid(number)).chain([0, crowd]);
        for group in groups {
            for bits in [0o070, 0o050, 0o020, 0o010] {
                let name = format!("supplementary-groups/{group}-{bits:03o}");
                self.file(format!("{name}-file"), &Spec::mode(0, group, bits))?;
                self.directory_with_file(name, &Spec::mode(0, group, bits))?;
            }
        }
        Ok(())
    }

    /// An entry of one's own counts before any group and before others, even when it grants less.
    fn acl_named_users(&mut self) -> Result<(), MadeError> {
        self.case("acl-named-users")?;
        let (owner, group) = (self.cast.uid(0), self.cast.gid(0));
        for own in 0..8_u16 {
            for rest in [0, 5, 7] {
                let users = [(self.cast.uid(1), own), (self.cast.uid(6), own), (self.cast.uid(8), 7 & !own)];
                let spec = Spec::acl(owner, group, [6, rest, 7, rest], &users, &[]);
                self.file(format!("acl-named-users/{own}-{rest}"), &spec)?;
                // The owner's own entry does not help the owner.
                let spec = Spec::acl(owner, group, [own, rest, 7, rest], &[(owner, 7)], &[]);
                self.file(format!("acl-named-users/owner-{own}-{rest}"), &spec)?;
            }
        }
        // Root has an entry like anybody else, and capabilities besides.
        self.file("acl-named-users/root", &Spec::acl(owner, group, [7, 7, 7, 7], &[(0, 0)], &[]))?;
        self.file("acl-named-users/root-no-x", &Spec::acl(owner, group, [6, 6, 6, 6], &[(0, 7)], &[]))
    }

    /// The mask holds back named users and groups, not the owner and not others; an empty one switches the ACL off.
    fn acl_masks(&mut self) -> Result<(), MadeError> {
        self.case("acl-masks")?;
        let (owner, group) = (self.cast.uid(0), self.cast.gid(0));
        for mask in 0..8_u16 {
            for (owning_group, other) in [(7, 0), (7, 7), (4, 5), (0, 7), (5, 2)] {
                let users = [(self.cast.uid(3), 7), (self.cast.uid(6), 6), (self.cast.uid(7), 0)];
                let groups = [(self.cast.gid(2), 7), (self.cast.gid(5), 3)];
                let spec = Spec::acl(owner, group, [7, owning_group, mask, other], &users, &groups);
                self.file(format!("acl-masks/{mask}-{owning_group}{other}"), &spec)?;
                self.directory_with_file(format!("acl-masks/{mask}-{owning_group}{other}-directory"), &spec)?;
            }
        }
        Ok(())
    }

    /// Two groups with different bits: either may grant, but read-and-write must come from one.
    fn acl_groups(&mut self) -> Result<(), MadeError> {
        self.case("acl-groups")?;
        let (owner, group, second) = (self.cast.uid(4), self.cast.gid(0), self.cast.gid(1));
        for pair in (0..64_u16).step_by(self.size.mode_step.min(7)) {
            let (first_bits, second_bits) = (pair >> 3, pair & 7);
            for (mask, other) in [(7, 7), (6, 0)] {
                let spec =
                    Spec::acl(owner, group, [0, first_bits, mask, other], &[], &[(second, second_bits)]);
                self.file(format!("acl-groups/{first_bits}{second_bits}-{mask}{other}"), &spec)?;
            }
            // Neither group owns it; a third one does, and has nothing.
            let groups = [(group, first_bits), (second, second_bits)];
            let spec = Spec::acl(owner, self.cast.gid(9), [7, 0, 7, 1], &[], &groups);
            self.file(format!("acl-groups/{first_bits}{second_bits}-third"), &spec)?;
        }
        Ok(())
    }

    fn acl_directories(&mut self) -> Result<(), MadeError> {
        self.case("acl-directories")?;
        for bits in 0..8_u16 {
            for mask in [7, 4, 1] {
                let name = format!("acl-directories/{bits}-{mask}");
                let users = [(self.cast.uid(2), bits), (self.cast.uid(5), 7 & !bits)];
                let groups = [(self.cast.gid(1), bits), (self.cast.gid(6), 7)];
                let spec =
                    Spec::acl(self.cast.uid(0), self.cast.gid(0), [7, 5, mask, bits & 1], &users, &groups);
                self.directory_with_file(&name, &spec)?;
                self.directory_with_file(format!("{name}/below"), &spec)?;
            }
        }
        Ok(())
    }

    /// What uid 0 may execute hangs on any x bit at all; of a directory, on none.
    fn executable_for_root(&mut self) -> Result<(), MadeError> {
        self.case("uid-0")?;
        for mode in [0o000, 0o001, 0o010, 0o100, 0o666, 0o667, 0o676, 0o766, 0o111] {
            for owner in [0, self.cast.uid(0)] {
                let spec = Spec::mode(owner, self.cast.gid(0), mode);
                self.file(format!("uid-0/file-{mode:03o}-{owner}"), &spec)?;
                self.directory_with_file(format!("uid-0/directory-{mode:03o}-{owner}"), &spec)?;
            }
        }
        for (mask, named) in [(6, 7), (7, 7), (1, 1), (0, 7), (4, 1)] {
            let users = [(self.cast.uid(1), named)];
            let spec = Spec::acl(self.cast.uid(0), self.cast.gid(0), [6, 4, mask, 4], &users, &[]);
            self.file(format!("uid-0/acl-{mask}-{named}"), &spec)?;
            let spec = Spec::acl(0, 0, [6, 4, mask, 4], &users, &[(self.cast.gid(2), 7)]);
            self.file(format!("uid-0/acl-{mask}-{named}-own"), &spec)?;
        }
        Ok(())
    }

    /// Set-user-id, set-group-id and sticky say nothing about access.
    fn special_bits(&mut self) -> Result<(), MadeError> {
        self.case("special-bits")?;
        for special in 1..8_u32 {
            for mode in [0o000, 0o070, 0o644, 0o750, 0o707] {
                let spec = Spec::mode(self.cast.uid(1), self.cast.gid(1), special << 9 | mode);
                self.file(format!("special-bits/{special}{mode:03o}-file"), &spec)?;
                self.directory_with_file(format!("special-bits/{special}{mode:03o}"), &spec)?;
            }
        }
        Ok(())
    }

    /// Six directories deep, with one of them shut at each level; and all of them empty of bits.
    fn ancestors(&mut self) -> Result<(), MadeError> {
        self.case("ancestors")?;
        for shut in 0..6_u32 {
            for mode in [0o000, 0o700, 0o070, 0o744, 0o710] {
                let mut path = PathBuf::from(format!("ancestors/{shut}-{mode:03o}"));
                for level in 0..6_u32 {
                    let mode = if level == shut { mode } else { PLAIN_DIRECTORY };
                    self.directory(&path, &Spec::mode(self.cast.uid(1), self.cast.gid(2), mode))?;
                    path.push("d");
                }
                self.file(&path, &Spec::mode(0, 0, 0o777))?;
            }
        }
        let mut path = PathBuf::from("ancestors/empty");
        for _ in 0..4 {
            self.directory_with_file(&path, &Spec::mode(self.cast.uid(0), self.cast.gid(0), 0))?;
            path.push("d");
        }
        Ok(())
    }

    fn links(&mut self) -> Result<(), MadeError> {
        self.case("links")?;
        let (owner, group) = (self.cast.uid(0), self.cast.gid(0));
        for (name, mode) in
            [("open", 0o755), ("shut", 0o700), ("blind", 0o111), ("seen", 0o744), ("group", 0o050)]
        {
            let place = format!("links/{name}");
            self.directory_with_file(&place, &Spec::mode(owner, group, mode))?;
            self.file(format!("{place}/private"), &Spec::mode(owner, group, 0o640))?;
        }
        let places = ["open", "shut", "blind", "seen", "group"];
        for from in places {
            for to in places {
                self.link(format!("links/{from}/to-{to}"), format!("../{to}/inside"))?;
                self.link(format!("links/{from}/to-private-of-{to}"), format!("../{to}/private"))?;
                self.link(format!("links/{from}/through-{to}"), format!("../{to}/../open/inside"))?;
                self.link(format!("links/{from}/absolute-{to}"), self.top.join(format!("links/{to}")))?;
                self.link(format!("links/{from}/twice-{to}"), format!("absolute-{to}/to-open"))?;
            }
        }
        self.link("links/itself", "itself")?;
        self.link("links/nothing", "open/missing")?;
        self.link("links/top", "/")
    }

    /// One inode with two names: which directories are above it, depends on the name.
    fn several_names(&mut self) -> Result<(), MadeError> {
        self.case("several-names")?;
        for mode in [0o755, 0o750, 0o700, 0o070, 0o000, 0o711] {
            self.directory(
                format!("several-names/{mode:03o}"),
                &Spec::mode(self.cast.uid(2), self.cast.gid(1), mode),
            )?;
        }
        self.file("several-names/755/file", &Spec::mode(self.cast.uid(0), self.cast.gid(0), 0o664))?;
        for mode in ["750", "700", "070", "000", "711"] {
            self.hard_link(&format!("several-names/{mode}/file"), "several-names/755/file")?;
        }
        Ok(())
    }

    fn kinds_and_names(&mut self) -> Result<(), MadeError> {
        self.case("kinds-and-names")?;
        let spec = Spec::mode(self.cast.uid(1), self.cast.gid(2), 0o640);
        self.special("kinds-and-names/pipe", FileType::Fifo, &spec)?;
        self.special("kinds-and-names/socket", FileType::Socket, &spec)?;
        let names: [&[u8]; 12] = [
            b" ",
            b"a b",
            b"new\nline",
            b"=2E",
            b"*",
            b"user:root#member@group:x",
            b"-rf",
            b"\xff\xfe",
            b"\\x00",
            "pö→🦀".as_bytes(),
            b"..hidden",
            b"%2F|+_",
        ];
        for name in names {
            let name = PathBuf::from("kinds-and-names").join(OsStr::from_bytes(name));
            self.directory(&name, &Spec::mode(self.cast.uid(1), self.cast.gid(2), 0o751))?;
            self.file(name.join("same"), &spec)?;
        }
        Ok(())
    }

    /// A tree of random shape, owners, groups, modes and ACLs.
    fn random(&mut self) -> Result<(), MadeError> {
        self.case("random")?;
        let mut directories = vec![PathBuf::from("random")];
        for number in 0..self.size.random_inodes {
            let place = self.rng.index(directories.len());
            let Some(parent) = directories.get(place).cloned() else { continue };
            let is_directory = self.rng.once_in(5) && parent.components().count() < DEPTH_MAX;
            let path = parent.join(format!("{}{number}", if is_directory { 'd' } else { 'f' }));
            let spec = self.random_spec(is_directory);
            if is_directory {
                self.directory(&path, &spec)?;
                directories.push(path);
            } else {
                self.file(&path, &spec)?;
            }
        }
        Ok(())
    }

    fn random_spec(&mut self, is_directory: bool) -> Spec {
        let owner = if self.rng.once_in(8) { 0 } else { self.cast.uid(self.rng.index(12)) };
        let group = if self.rng.once_in(8) { 0 } else { self.cast.gid(self.rng.index(10)) };
        // Most directories can be searched by most, or hardly anything below would ever be allowed.
        let searchable = is_directory && !self.rng.once_in(3);
        let least = if searchable { 0o111 } else { 0 };
        if self.rng.once_in(2) {
            let mode = u32::try_from(self.rng.below(0o1000)).unwrap_or(0);
            return Spec::mode(owner, group, mode | least);
        }
        let mut bits = || u16::try_from(self.rng.below(8)).unwrap_or(0) | if searchable { 1 } else { 0 };
        let classes = [bits(), bits(), bits(), bits()];
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for _ in 0..self.rng.index(4) {
            let id = self.cast.uid(self.rng.index(12));
            let bits = u16::try_from(self.rng.below(8)).unwrap_or(0);
            if users.iter().all(|(other, _)| *other != id) {
                users.push((id, bits));
            }
        }
        for _ in 0..self.rng.index(4) {
            let id = self.cast.gid(self.rng.index(10));
            let bits = u16::try_from(self.rng.below(8)).unwrap_or(0);
            if groups.iter().all(|(other, _)| *other != id) {
                groups.push((id, bits));
            }
        }
        Spec::acl(owner, group, classes, &users, &groups)
    }
}
