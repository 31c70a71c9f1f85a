package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mountinfo of a Raspberry Pi with a share, its lines made by hand after
// proc_pid_mountinfo(5).
const mountinfo = `22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:5 / /dev rw,nosuid - devtmpfs udev rw
40 22 179:1 / /boot/firmware rw - vfat /dev/mmcblk0p1 rw
41 22 0:44 / /mnt/nas rw shared:9 master:3 - nfs4 nas:/export rw,hard
42 22 0:45 / /mnt/my\040share rw - cifs //nas/x rw
43 22 0:46 / /mnt/auto rw - nfs old:/ rw
44 43 8:1 / /mnt/auto rw - ext4 /dev/sda1 rw
45 22 0:47 / /srv rw - fuse.sshfs nas: rw
46 45 8:2 / /srv/disk rw - fuseblk /dev/sdb1 rw
`

func TestNetworkFileSystemIsRefused(t *testing.T) {
	root := tree(t, common, map[string]string{
		"proc/self/mountinfo": mountinfo,
		"mnt/nasty/x":         "", "mnt/auto/x": "", "srv/disk/x": "", "boot/firmware/x": "", "home/x": "",
	})
	for link, target := range map[string]string{"home/share": "/mnt/nas/photos", "home/up": "../mnt/./nas", "home/here": "../boot", "home/ring": "ring"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/":                   "",
		"/boot/firmware":      "",
		"/mnt/nasty":          "",
		"/mnt/auto/x":         "", // the disk hides what is mounted there, too
		"/home/here/firmware": "",
		"/mnt/nas":            "nfs4 at /mnt/nas",
		"/mnt/nas/photos/":    "nfs4 at /mnt/nas",
		"/mnt//my share/a":    "cifs at /mnt/my share",
		"/srv":                "fuse.sshfs at /srv",
		"/srv/disk":           "fuse.sshfs at /srv", // a disk of this machine, but the way to it goes through there
		"/home/share/2026":    "nfs4 at /mnt/nas",
		"/home/up":            "nfs4 at /mnt/nas",
		"/home/ring":          "too many levels of symbolic links",
	} {
		_, err := open(t, root, fmt.Sprintf("disk = %q", path))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	_, err := open(t, root, `disk = "/mnt/nas"`)
	if want := `disk is "/mnt/nas", which is on the network file system nfs4 at /mnt/nas; it would hold up the device when the server is gone: set disk to a path on this machine, or to "" for none`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestRootOnTheNetworkIsTaken(t *testing.T) {
	root := tree(t, common, map[string]string{"proc/self/mountinfo": "22 1 0:20 / / rw - nfs nas:/pi rw\n", "var/x": ""})
	for _, options := range []string{"", `disk = "/var"`} {
		d, err := open(t, root, options)
		if err != nil {
			t.Fatal(err)
		}
		if got := values(t, d); got["disk_free"] == nil {
			t.Errorf("no disk: %v", got)
		}
	}
}

// A share that is mounted while the device is open costs its own values only.
func TestShareThatComesLaterIsAFault(t *testing.T) {
	root := tree(t, common, map[string]string{"proc/self/mountinfo": "22 1 179:2 / / rw - ext4 /dev/root rw\n", "mnt/x": ""})
	d, err := open(t, root, `disk = "/mnt"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := values(t, d); got["disk_free"] == nil {
		t.Errorf("no disk: %v", got)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), []byte("22 1 179:2 / / rw - ext4 /dev/root rw\n30 22 0:44 / /mnt rw - nfs nas:/ rw\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := d.Sample(t.Context())
	if err != nil || r.Fault == nil || !strings.Contains(r.Fault.Error(), "nfs at /mnt") || len(r.Values) != 10 {
		t.Errorf("%d values, fault %v, %v", len(r.Values), r.Fault, err)
	}
}
