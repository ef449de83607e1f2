//! Images that cannot be read, now or ever: what still leads to the newest revision?

use std::io;

use idhini_changelog::disk::DiskFile;

use super::*;

/// A disk on which so many images cannot be opened.
#[derive(Debug)]
struct Short {
    disk: FileDisk,
    failures: Arc<AtomicU32>,
}

impl Disk for Short {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let fails = |left: u32| left.checked_sub(1);
        if path.ends_with(".image")
            && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok()
        {
            return Err(io::Error::other("too many files are open"));
        }
        self.disk.open(path)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.disk.sync_directory(directory)
    }
}

const HISTORY_SECONDS: u64 = 100;

fn short() -> (Left, Arc<AtomicU32>) {
    let failures = Arc::new(AtomicU32::new(0));
    let of_disk = Arc::clone(&failures);
    let options = Options { kept_bytes_max: 0, history_seconds: Some(HISTORY_SECONDS), ..Options::default() };
    (Left::with(options, |disk| Arc::new(Short { disk, failures: of_disk })), failures)
}

/// Long enough that images are continued.
fn long(n: usize) -> String {
    format!("document:{}{n}#viewer@user:u1", "l".repeat(900))
}

fn image(left: &Left, namespace: &Arc<Namespace>) {
    left.runtime.block_on(namespace.image()).unwrap();
}

/// Two whole images, at revisions 2 and 3, and one at 4 that rests on the one before it; the newest revision is 9.
fn continued(left: &Left) -> Arc<Namespace> {
    let namespace = left.furnished(0);
    for documents in [0..100, 100..101, 101..102] {
        left.touch(&namespace, &documents.map(long).collect::<Vec<_>>());
        image(left, &namespace);
    }
    let files: Vec<usize> = left.images().facts().iter().map(|image| image.files.len()).collect();
    assert_eq!(files, [1, 1, 2]);
    for n in 0..5 {
        left.touch(&namespace, &[viewer(n)]);
    }
    namespace
}

/// As long as the history and longer, with some changes and images.
fn go_on(left: &Left, namespace: &Arc<Namespace>) {
    for n in 100..104 {
        left.seconds.fetch_add(200, Ordering::SeqCst);
        left.touch(namespace, &[viewer(n)]);
        left.maintain(namespace);
        image(left, namespace);
        left.seconds.fetch_add(200, Ordering::SeqCst);
        left.maintain(namespace);
    }
}

fn flip(left: &Left, revision: u64) {
    let path = left.folder.0.join(format!("images/0000000000000001/{revision:020}.image"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// As whoever asks for a past that only an image leads to.
fn look_back(namespace: &Namespace) {
    let _ = namespace.images().unwrap().nearest(Revision(5), Revision(1), 0);
}

fn assert_comes_back(left: &Left, namespace: &Arc<Namespace>) {
    let was = content(namespace.head().root());
    assert_eq!(content(left.open().head().root()), was);
}

#[test]
fn an_image_that_could_not_be_read_for_a_moment_is_as_good_as_before() {
    let (left, failures) = short();
    let namespace = continued(&left);
    let before = left.images().facts();
    failures.store(1, Ordering::SeqCst);
    look_back(&namespace);
    let past = left.runtime.block_on(namespace.at(Revision(5))).unwrap();
    assert_eq!(past.root().relationship_count(), 103);
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    assert_eq!(namespace.images().unwrap().facts(), before);
    go_on(&left, &namespace);
    assert_comes_back(&left, &namespace);
    assert!(left.oldest() > Revision(2), "the log is trimmed all the same");
}

#[test]
fn nothing_goes_as_long_as_images_cannot_be_read() {
    let (left, failures) = short();
    let namespace = continued(&left);
    let files = left.image_files();
    left.seconds.fetch_add(1_000, Ordering::SeqCst);
    failures.store(u32::MAX, Ordering::SeqCst);
    assert!(left.runtime.block_on(namespace.maintain()).is_err());
    assert!(files.iter().all(|file| file.exists()));
    assert_eq!(left.oldest(), Revision(1));
    // Nor when they could not even be looked at on a start.
    let again = left.open();
    assert!(left.runtime.block_on(again.maintain()).is_err());
    assert!(files.iter().all(|file| file.exists()));
    failures.store(0, Ordering::SeqCst);
    go_on(&left, &again);
    assert!(left.oldest() > Revision(2));
    assert_comes_back(&left, &again);
}

#[test]
fn what_is_damaged_is_not_continued() {
    for damaged in [3, 4] {
        let (left, _) = short();
        let namespace = continued(&left);
        flip(&left, damaged);
        // Whoever asks for the past finds it.
        look_back(&namespace);
        let past = left.runtime.block_on(namespace.at(Revision(5))).unwrap();
        assert_eq!(past.root().relationship_count(), 103);
        assert!(!left.reports.lock().unwrap().is_empty());
        left.touch(&namespace, &[viewer(50)]);
        left.maintain(&namespace);
        let newest = namespace.images().unwrap().facts().pop().unwrap();
        assert_eq!(
            (newest.revision, newest.files.len()),
            (namespace.head().revision(), 1),
            "whole, and soon"
        );
        go_on(&left, &namespace);
        assert!(left.oldest() > Revision(2));
        assert_comes_back(&left, &namespace);
    }
}

#[test]
fn the_log_is_not_trimmed_to_an_image_that_was_not_read() {
    for damaged in [2, 3, 4] {
        let (left, _) = short();
        let namespace = continued(&left);
        image(&left, &namespace);
        flip(&left, damaged);
        left.seconds.fetch_add(1_000, Ordering::SeqCst);
        left.maintain(&namespace);
        assert_comes_back(&left, &namespace);
        go_on(&left, &namespace);
        assert!(left.oldest() > Revision(2));
        assert_comes_back(&left, &namespace);
    }
    // Nor to the only one.
    let (left, _) = short();
    let namespace = left.furnished(10);
    image(&left, &namespace);
    flip(&left, 11);
    left.seconds.fetch_add(1_000, Ordering::SeqCst);
    left.maintain(&namespace);
    assert_eq!(left.oldest(), Revision(1));
    left.maintain(&namespace);
    assert!(left.oldest() > Revision(1), "there is another now");
    assert_comes_back(&left, &namespace);
}

#[test]
fn the_log_stays_until_there_is_an_image_instead_of_a_damaged_one() {
    let (left, _) = short();
    let namespace = left.furnished(5);
    image(&left, &namespace);
    left.touch(&namespace, &[viewer(5)]);
    image(&left, &namespace);
    flip(&left, 7);
    left.seconds.fetch_add(1_000, Ordering::SeqCst);
    left.maintain(&namespace);
    assert_eq!((left.oldest(), namespace.images().unwrap().facts().len()), (Revision(1), 1));
    left.maintain(&namespace);
    assert_eq!((left.oldest(), namespace.images().unwrap().facts().len()), (Revision(7), 2));
}

#[test]
fn an_image_that_could_not_be_looked_at_on_a_start_stays() {
    let (left, failures) = short();
    continued(&left);
    failures.store(1, Ordering::SeqCst);
    let again = left.open();
    assert_eq!(again.images().unwrap().facts().len(), 2);
    left.seconds.fetch_add(1_000, Ordering::SeqCst);
    failures.store(1, Ordering::SeqCst);
    left.maintain(&again);
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    assert_eq!((left.oldest(), left.image_files().len()), (Revision(1), 4));
    left.maintain(&again);
    assert!(left.oldest() > Revision(2));
    assert_comes_back(&left, &again);
}

#[test]
fn two_images_at_once_leave_one_and_nothing_unfinished() {
    let (left, _) = short();
    let namespace = left.furnished(20);
    left.runtime.block_on(async {
        for n in 0..20 {
            let text = viewer(100 + n);
            namespace.write(write(Operation::Touch, &[&text]), ALWAYS).await.unwrap();
            let other = Arc::clone(&namespace);
            let other = tokio::spawn(async move { other.image().await });
            namespace.image().await.unwrap();
            other.await.unwrap().unwrap();
        }
    });
    assert_comes_back(&left, &namespace);
    assert!(left.image_files().iter().all(|file| file.extension().unwrap() == "image"));
}

#[test]
fn an_image_that_another_writes_is_left_to_it() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(3);
    image(&left, &namespace);
    let unfinished = left.image_files()[0].with_file_name(format!("{:020}.image.unfinished", 5));
    std::fs::write(&unfinished, "half").unwrap();
    left.touch(&namespace, &[viewer(9)]);
    assert!(left.runtime.block_on(namespace.image()).is_err());
    assert!(unfinished.exists());
}
