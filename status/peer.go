package status

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerAllowed decides whether the process at the other end of a control connection may use it: root, the
// gateway's own user, and members of the gateway's group may. The mode of the socket says the same; this
// holds also in the moment before chmod, and on file systems that ignore modes.
func peerAllowed(conn net.Conn) error {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("control connection is %T, not a unix socket", conn)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at the control connection's peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return fmt.Errorf("look at the control connection's peer: %w", err)
	}
	if credErr != nil {
		return fmt.Errorf("look at the control connection's peer: %w", credErr)
	}
	return allowed(int(cred.Uid), int(cred.Gid), os.Geteuid(), os.Getegid(), groupsOf)
}

// allowed is the rule alone. groups names the supplementary groups of a user.
func allowed(uid, gid, ownUID, ownGID int, groups func(uid int) []string) error {
	if uid == 0 || uid == ownUID || gid == ownGID {
		return nil
	}
	if slices.Contains(groups(uid), strconv.Itoa(ownGID)) {
		return nil
	}
	return fmt.Errorf("user %d may not control this gateway: run the command as root, as user %d, or join group %d", uid, ownUID, ownGID)
}

// groupsOf asks /etc/group. SO_PEERCRED carries the primary group only.
func groupsOf(uid int) []string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return nil
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil
	}
	return groups
}
