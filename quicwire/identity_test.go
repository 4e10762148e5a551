package quicwire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	first, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.Fingerprint() != again.Fingerprint() {
		t.Errorf("%s became %s", first.Fingerprint(), again.Fingerprint())
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the key: %v, %v", entries, err)
	}
}

func TestIdentityMadeByManyAtOnceIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	got := make([]Fingerprint, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			id, err := LoadIdentity(path)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = id.Fingerprint()
		})
	}
	wg.Wait()
	for _, f := range got {
		if f != got[0] {
			t.Errorf("keys %v", got)
		}
	}
}

// `ssh-keygen -l` prints this for the key
// ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7MFQfcHd1ylZUcKQiI8JWtuQRNG3PWlubfBl1oO9T8
func TestFingerprintIsThatOfSSH(t *testing.T) {
	const want = "SHA256:+7Mp32er4lydoNiApNjjbYQK0PA6q+yZEYhxADwBN3M"
	if got := identityOf(t, 1).Fingerprint().String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseFingerprint(t *testing.T) {
	good := identityOf(t, 1).Fingerprint()
	if got, err := ParseFingerprint(good.String()); err != nil || got != good {
		t.Errorf("%v, %v", got, err)
	}
	text := good.String()
	for _, bad := range []string{
		"", "SHA256:", text[7:], text + "=", text + "\n", text[:20] + "\n" + text[20:], text[:len(text)-1], text + "A", " " + text,
		"sha256:" + text[7:], "MD5:" + text[7:], text[:len(text)-1] + "_", text[:len(text)-1] + "B" + "\r",
	} {
		if f, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q is read as %s", bad, f)
		}
	}
	// 43 characters have two bits to spare, which must be zero, or one key would have four names.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", text[len(text)-1])
	spare := text[:len(text)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last|1])
	if _, err := ParseFingerprint(spare); err == nil {
		t.Errorf("%q is read", spare)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	good, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(mode os.FileMode, b []byte) func(string) error {
		return func(path string) error {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				return err
			}
			return os.Chmod(path, mode)
		}
	}
	for _, c := range []struct {
		why  string
		make func(path string) error
		want string
	}{
		{"readable for the group", write(0o640, good), "mode 0640"},
		{"readable for all", write(0o604, good), "mode 0604"},
		{"executable", write(0o700, good), "mode 0700"},
		{"empty", write(0o600, nil), "PEM"},
		{"no PEM", write(0o600, []byte("hello")), "PEM"},
		{"of another algorithm", write(0o600, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: ecDER})), "not Ed25519"},
		{"of another PEM type", write(0o600, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ecDER})), "PEM"},
		{"of bytes that are no key", write(0o600, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte("x")})), "PKCS #8"},
		{"two keys", write(0o600, append(bytes.Clone(good), good...)), "exactly one"},
		{"huge", write(0o600, make([]byte, maxKeyFile+1)), "which no key is"},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		{"a link to nothing", func(path string) error { return os.Symlink(path+".elsewhere", path) }, "symbolic link"},
		{"a link to a key", func(path string) error {
			if err := write(0o600, good)(path + ".elsewhere"); err != nil {
				return err
			}
			return os.Symlink(path+".elsewhere", path)
		}, "symbolic link"},
	} {
		path := filepath.Join(t.TempDir(), "key.pem")
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		_, err := LoadIdentity(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("a key file that is %s: %v, want %q", c.why, err, c.want)
		}
	}
	if _, err := LoadIdentity(filepath.Join(t.TempDir(), "missing", "key.pem")); err == nil {
		t.Error("a key is made in a directory that does not exist")
	}
}

func TestForeignKeyFileIsRead(t *testing.T) {
	// The example of RFC 8410, sections 10.1 and 10.3.
	const text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := hex.DecodeString("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
	if err != nil {
		t.Fatal(err)
	}
	if id.Fingerprint() != KeyFingerprint(public) {
		t.Error("the fingerprint is of another key")
	}
}

func TestResetKeyIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reset.key")
	first, err := loadResetKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadResetKey(path)
	if err != nil || *again != *first {
		t.Errorf("another key, %v", err)
	}
	if err := os.Truncate(path, 31); err != nil {
		t.Fatal(err)
	}
	if _, err := loadResetKey(path); err == nil {
		t.Error("a key cut short is accepted")
	}
}
