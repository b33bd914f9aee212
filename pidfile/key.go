package pidfile

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Key names one record: a route and the listen address it was asked for, normalised ("auto" where it was left out).
type Key struct {
	Route  string
	Listen string
}

// Slug and hash lengths keep every name, with its longest suffix, far below the 255 bytes that file systems allow.
const (
	maxSlug  = 48
	hashSize = 8 // bytes; the slug is for people, the hash tells keys apart
)

// Name is the key's file name without an extension: a readable slug and a hash. It holds only letters, digits, '.', '_' and
// '-', never begins with '.' or '-' and is never a path, whatever the route says.
func (k Key) Name() string {
	sum := sha256.Sum256([]byte(k.Route + "\x00" + k.Listen))
	return strings.TrimLeft(slug(k.Route+"-"+k.Listen)+"-", "-") + hex.EncodeToString(sum[:hashSize])
}

func slug(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range s {
		if b.Len() >= maxSlug {
			break
		}
		if !isPlain(r) || r == '.' && b.Len() == 0 {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_'
}
