package broker

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// passwordHash is what a password file keeps of a password.
type passwordHash interface {
	matches(password []byte) bool
	work() int // bytes to go through; what takes much waits for its turn
}

// slowWork is from where on hashes are computed one after the other. We chose it:
// a few milliseconds on a small board.
const slowWork = 1 << 20

// These bounds keep a wrong file from making every CONNECT cost seconds, or memory
// that a small board does not have. We chose them.
const (
	maxRounds     = 10_000_000
	maxArgonKiB   = 64 << 10
	maxArgonWork  = 512 << 10 // KiB times passes
	maxArgonLanes = 16
	maxArgonBytes = 64 // of salt and hash
)

// HashPassword returns what stands behind the name in a password file: argon2id
// with a random salt. The password is not empty.
func HashPassword(password []byte) string {
	// 7 MiB and 5 passes is the smallest in memory of the settings that the OWASP
	// "Password Storage Cheat Sheet" holds for equal.
	h := argon{kib: 7 << 10, passes: 5, lanes: 1, salt: make([]byte, 16)}
	_, _ = rand.Read(h.salt) // never fails
	h.hash = h.compute(password, 32)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.kib, h.passes, h.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.hash))
}

func parseHash(s string) (passwordHash, error) {
	parts := strings.Split(s, "$")
	if len(parts) < 2 || parts[0] != "" {
		return nil, errUnknownHash
	}
	switch parts = parts[2:]; {
	case strings.HasPrefix(s, "$argon2id$") && len(parts) == 4:
		return parseArgon(parts)
	case strings.HasPrefix(s, "$7$") && len(parts) == 3:
		rounds, err := strconv.Atoi(parts[0])
		if err != nil || rounds < 1 || rounds > maxRounds {
			return nil, fmt.Errorf("the rounds of the hash must be from 1 to %d", maxRounds)
		}
		return parseSHA(rounds, parts[1:])
	case strings.HasPrefix(s, "$6$") && len(parts) == 2:
		return parseSHA(0, parts)
	}
	return nil, errUnknownHash
}

var errUnknownHash = errors.New("the hash is none of $argon2id$, $7$ and $6$ (make it with gateway passwd)")

// shaHash is one as mosquitto_passwd writes them: $7$ (PBKDF2 with SHA-512) or, with
// rounds 0, $6$ (SHA-512 over password and salt).
type shaHash struct {
	rounds     int
	salt, hash []byte
}

func parseSHA(rounds int, parts []string) (passwordHash, error) {
	h := &shaHash{rounds: rounds}
	var errs [2]error
	h.salt, errs[0] = base64.StdEncoding.DecodeString(parts[0])
	h.hash, errs[1] = base64.StdEncoding.DecodeString(parts[1])
	if errors.Join(errs[:]...) != nil || len(h.salt) == 0 || len(h.hash) != sha512.Size {
		return nil, errors.New("salt or hash is damaged (make it anew with gateway passwd)")
	}
	return h, nil
}

func (h *shaHash) work() int { return 2 * sha512.BlockSize * h.rounds }

func (h *shaHash) matches(password []byte) bool {
	var got []byte
	if h.rounds == 0 {
		sum := sha512.Sum512(append(append([]byte(nil), password...), h.salt...))
		got = sum[:]
	} else {
		var err error
		if got, err = pbkdf2.Key(sha512.New, string(password), h.salt, h.rounds, sha512.Size); err != nil {
			return false
		}
	}
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}

// argon is argon2id of RFC 9106, written as $argon2id$v=19$m=KiB,t=passes,p=lanes$
// with salt and hash in base64 without padding.
type argon struct {
	kib, passes uint32
	lanes       uint8
	salt, hash  []byte
}

func parseArgon(parts []string) (passwordHash, error) {
	var h argon
	if parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("argon2id must be of version %d", argon2.Version)
	}
	settings := strings.Split(parts[1], ",")
	if len(settings) != 3 {
		return nil, errors.New("argon2id needs the settings m=,t=,p=")
	}
	var numbers [3]uint64
	for i, prefix := range [3]string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(settings[i], prefix)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil {
			return nil, errors.New("argon2id needs the settings m=,t=,p=")
		}
		numbers[i] = n
	}
	kib, passes, lanes := numbers[0], numbers[1], numbers[2]
	if lanes < 1 || lanes > maxArgonLanes || kib < 8*lanes || kib > maxArgonKiB || passes < 1 || kib*passes > maxArgonWork {
		return nil, fmt.Errorf("the settings of argon2id are out of bounds: m is at most %d, m times t at most %d, p at most %d",
			maxArgonKiB, maxArgonWork, maxArgonLanes)
	}
	h.kib, h.passes, h.lanes = uint32(kib), uint32(passes), uint8(lanes)
	var errs [2]error
	h.salt, errs[0] = base64.RawStdEncoding.DecodeString(parts[2])
	h.hash, errs[1] = base64.RawStdEncoding.DecodeString(parts[3])
	if errors.Join(errs[:]...) != nil || len(h.salt) < 8 || len(h.salt) > maxArgonBytes || len(h.hash) < 16 || len(h.hash) > maxArgonBytes {
		return nil, errors.New("salt or hash is damaged (make it anew with gateway passwd)")
	}
	return &h, nil
}

func (h *argon) compute(password []byte, size int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.kib, h.lanes, uint32(size))
}

func (h *argon) work() int { return int(h.kib) << 10 }

func (h *argon) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.compute(password, len(h.hash)), h.hash) == 1
}
