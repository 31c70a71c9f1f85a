package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A mount is a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type mount struct{ point, kind string }

// far tells whether the kind is that of a file system whose server may be gone: any
// call that reaches it then waits, for ever perhaps. Of FUSE (fuse.sshfs) it is the
// program behind it that counts.
func (t mount) far() bool {
	return slices.Contains([]string{
		"9p", "afs", "beegfs", "ceph", "cifs", "coda", "curlftpfs", "davfs", "davfs2", "gfs2", "glusterfs", "lustre",
		"ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "rclone", "s3fs", "smb3", "smbfs", "sshfs",
	}, strings.TrimPrefix(t.kind, "fuse."))
}

// near returns an error if a path leads to a network file system. It follows
// the path step by step and asks nothing of such a one: not even what a name in it
// stands for. The root is taken as it is: without it nothing would run.
func (m machine) near(path string) error {
	mounts := m.mounts()
	here, links := "/", 0
	for names := split(path); len(names) > 0; {
		next := filepath.Join(here, names[0])
		names = names[1:]
		if t := at(mounts, next); t.far() && t.point != "/" {
			return fmt.Errorf("disk is %q, which is on the network file system %s at %s; it would hold up the device when the server is gone: set disk to a path on this machine, or to \"\" for none", path, t.kind, t.point)
		}
		target, err := os.Readlink(m.path(next))
		if err != nil || links == 40 { // no link, or a ring of them, as statfs(2) will say
			here = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			here = "/"
		}
		names = append(split(target), names...)
	}
	return nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// at returns what is mounted at a path, or above it.
func at(mounts []mount, path string) (best mount) {
	for _, t := range mounts {
		within := path == t.point || strings.HasPrefix(path, strings.TrimSuffix(t.point, "/")+"/")
		if within && len(t.point) >= len(best.point) { // of several at one point the last one hides the others
			best = t
		}
	}
	return best
}

// mounts lists what is mounted; nothing if that cannot be read.
func (m machine) mounts() (mounts []mount) {
	text, err := m.text("proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(text) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) >= 6 && len(right) >= 1 {
			mounts = append(mounts, mount{unescape(left[4]), right[0]})
		}
	}
	return mounts
}

// unescape reads \040 and the like, as which blanks and backslashes are written.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
