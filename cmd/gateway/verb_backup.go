package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"edgegateway/buffer"
)

func backupVerb() verb {
	return verb{
		name:    "backup",
		args:    "[-force] FILE",
		summary: "copy the store to a file, also while the gateway runs",
		about: "Writes what the gateway keeps (waiting messages, sessions, retained messages) to FILE, as it is\n" +
			"at one moment. Everything that was acknowledged before the command is in it. The gateway goes on\n" +
			"meanwhile. The file is readable for you alone. The configuration is not in it.",
		example: "gateway backup /mnt/usb/gateway.backup",
		setup: func(f *flag.FlagSet) action {
			force := f.Bool("force", false, "replace FILE if it exists")
			where := socketFlags(f)
			return func(ctx context.Context, p *process, words []string) error {
				if len(words) != 1 {
					return usageError("name one file for the backup")
				}
				n, err := writeBackup(words[0], *force, func(w io.Writer) error { return where.copyStore(ctx, p, w) })
				if err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "%s: %s, checked\n", words[0], showBytes(n))
				return nil
			}
		},
	}
}

// copyStore copies the store of the running gateway or, if there is none, the file.
func (c *socketChoice) copyStore(ctx context.Context, p *process, w io.Writer) error {
	err := c.askGateway(ctx, p, http.MethodGet, "/v1/backup", w)
	if !notRunning(err) || c.socket != "" {
		return err
	}
	cfg, cerr := loadConfig(c.config, p.getenv)
	if cerr != nil {
		return cerr
	}
	_, err = buffer.BackupFile(storePath(cfg), w)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no gateway is running, and there is no store at %s: name the file that the gateway is started with, with -config", storePath(cfg))
	}
	return err
}

// writeBackup has the backup complete and on disk under its name, or not at all.
func writeBackup(path string, force bool, copyTo func(io.Writer) error) (n int64, err error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return 0, fmt.Errorf("%s exists: give another name, or -force to replace it", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".gateway-backup-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name()) // a no-op once it is renamed
	err = copyTo(tmp)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return 0, err
	}
	if err := buffer.ForgetRun(tmp.Name()); err != nil { // checks it, too, and has it on disk
		return 0, fmt.Errorf("the backup is not sound: %w", err)
	}
	info, err := os.Stat(tmp.Name())
	if err != nil {
		return 0, err
	}
	if force {
		err = os.Rename(tmp.Name(), path)
	} else if err = os.Link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		err = os.Rename(tmp.Name(), path) // a file system without links
	}
	if err != nil {
		return 0, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(d.Sync(), d.Close())
}

func restoreVerb() verb {
	return verb{
		name:    "restore",
		args:    "[-config FILE] BACKUP",
		summary: "put a backup in the place of the store",
		about: "Checks BACKUP and puts it in the place of the store in data_dir; no gateway may be running there.\n" +
			"The present store is kept beside it. At the next start the gateway takes the store as restored:\n" +
			"sessions with clouds and clients begin anew, and what waits in the backup is sent again, so\n" +
			"nothing is lost and what was delivered since the backup may come twice.",
		example: "systemctl stop gateway\ngateway restore -config /etc/gateway/gateway.toml /mnt/usb/gateway.backup\nsystemctl start gateway",
		setup: func(f *flag.FlagSet) action {
			file := f.String("config", "", "the `FILE` that the gateway is started with")
			return func(_ context.Context, p *process, words []string) error {
				if len(words) != 1 {
					return usageError("name one backup")
				}
				cfg, err := loadConfig(*file, p.getenv)
				if err != nil {
					return err
				}
				if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
					return fmt.Errorf("make data_dir: %w", err)
				}
				aside, err := buffer.Restore(storePath(cfg), words[0])
				if errors.Is(err, buffer.ErrLocked) {
					return fmt.Errorf("%w: stop the gateway first", err)
				}
				if err != nil {
					return err
				}
				if err := ownLikeDir(cfg.DataDir, storePath(cfg), storePath(cfg)+".state"); err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "%s is in place as %s\n", words[0], storePath(cfg))
				if aside != "" {
					fmt.Fprintf(p.stdout, "the store that was there is kept as %s\n", aside)
				}
				return nil
			}
		},
	}
}
