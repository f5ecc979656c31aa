#!/bin/sh
# Records the traces of this directory again, on a Linux machine with strace(1)
# and the programs: record.sh [name...]; without a name, all of them.
#
# Each program works in an empty directory /tmp/scratch, in which the trace is
# replayed later. It is a ramfs, which has no access control lists either; so this
# needs root. The first line of a trace says how it was made. To keep the
# traces small, calls are left out that a replay below /tmp/scratch skips anyway:
# on files of the system, which are mostly the loading of programs and libraries,
# and memory maps without a file.
set -eu
trap 'umount /tmp/scratch 2>/dev/null || :' EXIT
cd "$(dirname "$0")"
here=$PWD
scratch=/tmp/scratch

# record NAME COMMANDS: what a shell does with COMMANDS in the scratch directory.
record() {
	name=$1
	case " ${wanted:-$name} " in *" $name "*) ;; *) return 0 ;; esac
	mkdir -p "$scratch"
	mount -t ramfs -o mode=0755 none "$scratch"
	umask 022
	set -- "$name" "cd $scratch
$2"
	(cd / && env -i PATH=/usr/bin:/bin HOME="$scratch" LC_ALL=C TZ=UTC \
		strace -f -o "$here/$name.tmp" -s 9999999 -e trace=%file,%desc,%process,%creds,umask -e signal=none \
		sh -euc "$2" >/dev/null)
	{
		printf '# Recorded: strace -f -s 9999999 -e trace=%%file,%%desc,%%process,%%creds,umask -e signal=none sh -euc %s\n' "'$(printf '%s' "$2" | tr '\n' ';')'."
		trim <"$name.tmp"
	} >"$name.txt"
	umount "$scratch"
	rm -r "$name.tmp" "$scratch"
}

# trim leaves out calls on paths of the system and on descriptors opened there.
trim() {
	awk '
	{ call = $2; sub(/\(.*/, "", call); arg = $2; sub(/^[a-z0-9_]*\(/, "", arg); sub(/[,)].*/, "", arg) }
	/<unfinished|resumed>/ { print; next }
	call == "mmap" && (/, -1, 0\) += / || $1 " " $6+0 in outside) { next }
	call ~ /^(read|pread64|lseek|fstat|newfstatat|getdents64|fcntl|ioctl|fadvise64|close)$/ && ($1 " " arg) in outside {
		if (call == "close") delete outside[$1 " " arg]
		next
	}
	call !~ /^(execve|chdir|<)/ && match($0, /"[^"]*"/) && substr($0, RSTART, RLENGTH) ~ /^"\/(usr|etc|lib|lib64|proc|dev|sys|bin|run|var|root)[\/"]/ && !/\/proc\/self\/fd\// {
		if (call == "openat" && $NF ~ /^[0-9]+$/) outside[$1 " " $NF] = 1
		next
	}
	{ delete outside[$1 " " $NF]; print }'
}

wanted="$*"

record tar 'mkdir -p src/deep/er && echo one >src/a && echo two >src/deep/b && ln -s ../a src/deep/link && ln src/a src/hard && chmod 600 src/deep/b
tar cf a.tar -b 1 src
mkdir out && tar xpf a.tar -b 1 -C out
tar rf a.tar -b 1 out/src/a && tar tvf a.tar -b 1 >list && tar df a.tar -b 1'

record git-commit 'git init -q -b main repo && cd repo
echo one >f && mkdir d && echo two >d/g && git add . && git -c user.name=A -c user.email=a@example.org commit -q -m first
echo three >>f && git mv d/g h && git -c user.name=A -c user.email=a@example.org commit -q -a -m second && git status'

record git-merge 'git init -q -b main repo && cd repo
git config user.name A && git config user.email a@example.org
echo one >f && git add . && git commit -q -m first && git checkout -q -b side
echo two >g && git add g && git commit -q -m second && git checkout -q main
git mv f h && git commit -q -m third && git merge -q -m merged side'

record sqlite 'sqlite3 db "pragma page_size=512; create table t(a integer primary key, b text); insert into t(b) values (\"one\"), (\"two\");"
sqlite3 db "begin; update t set b = b || b; rollback; insert into t(b) select b from t; create index i on t(b);"
sqlite3 db "select count(*) from t; pragma integrity_check; vacuum;"'

record cp 'mkdir -p a/b/c && echo data >a/f && ln a/f a/g && ln -s f a/s && mkfifo a/b/p && chmod 750 a/b && touch -d 2001-02-03T04:05:06 a/b/c a/f
cp -a a copy && cp -au a copy && cp -r --preserve=mode a again
mv copy moved && mv moved/a moved/b/ && install -m 0640 a/f moved/installed && rm -r again moved'

record rsync 'mkdir -p src/d && echo one >src/f && echo two >src/d/g && ln -s f src/s && chmod 640 src/d/g
rsync -a src/ dst
echo more >>src/f && rm src/d/g && touch src/d/new && rsync -a --delete --inplace src/ dst && rsync -acn src/ dst'

record find 'mkdir -p a/b/c a/d && echo x >a/b/f && echo yy >a/d/g && touch a/b/c/empty && ln -s ../b a/d/to-b
find a -type f -newer a/b/f && find -L a -name f -size -2 -exec ls -lR {} + && find a -depth -empty -delete && du -a a
find . -type l -delete && find a -perm -0600 -printf "%p %s %m\n"'

record edit 'printf "one\ntwo\nthree\n" >f && cp f f.orig && sed -i s/two/TWO/ f
diff -u f.orig f >p || true
patch -s f.orig <p && cmp f f.orig && sort -r f -o f && split -l 1 f part- && cat part-* >>f && head -c 3 f >short && truncate -s 100 short && dd if=f of=short bs=2 seek=4 count=3 conv=notrunc status=none && tee -a short <p >/dev/null'

record python '/usr/bin/python3 -ISB -c "
import os, shutil, tempfile, zipfile
with zipfile.ZipFile(\"z.zip\", \"w\", zipfile.ZIP_DEFLATED) as z:
    z.writestr(\"d/one\", \"1\" * 1000)
    z.writestr(\"two\", \"2\")
zipfile.ZipFile(\"z.zip\").extractall(\"out\")
shutil.copytree(\"out\", \"copy\")
os.replace(\"copy/two\", \"copy/d/one\")
with open(\"f\", \"wb+\") as f:
    f.seek(10000); f.write(b\"end\"); f.seek(0); f.truncate(5000)
    os.fsync(f.fileno())
with tempfile.TemporaryFile(dir=\".\") as t:
    t.write(b\"gone\")
shutil.rmtree(\"copy\")
"'
