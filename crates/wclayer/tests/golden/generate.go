// Generate writes the layer tars of this directory with Go's archive/tar, which is what genuine
// producers of Windows layers use. The entries are what the descriptions of the formats say of
// each producer: hcsshim and go-winio, BuildKit, go-containerregistry, imgutil, bsdtar.
//
//	go run generate.go
package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"
)

// Attributes (winnt.h).
const (
	readOnly  = 0x1
	hidden    = 0x2
	system    = 0x4
	directory = 0x10
	archive   = 0x20
	sparse    = 0x200
	reparse   = 0x400
)

// Modes tell which streams an object had.
const (
	modeDirectory = 0o040000
	modeData      = 0o100000
	modeReparse   = 0o120000
)

const (
	directorySD = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAEC" +
		"AAAAAAAFIAAAACACAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAA" +
		"AAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAA" +
		"AAAhAgAA"
	fileSD = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAAAA" +
		"AAAFIAAAACACAAAAABQA/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA=="
	usersSD = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="
	adminSD = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAA=="
)

// layer collects the entries of one tar.
type layer struct {
	bytes.Buffer
	tar *tar.Writer
}

func newLayer() *layer {
	l := &layer{}
	l.tar = tar.NewWriter(&l.Buffer)
	return l
}

func (l *layer) add(header *tar.Header, data string) {
	header.Size = int64(len(data))
	check(l.tar.WriteHeader(header))
	_, err := l.tar.Write([]byte(data))
	check(err)
}

func (l *layer) save(name string) {
	check(l.tar.Close())
	check(os.WriteFile(name, l.Bytes(), 0o644))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// filetime converts units of 100 ns since 1601.
func filetime(units int64) time.Time {
	return time.Unix(units/1e7-11644473600, units%1e7*100)
}

// paxTime is the text of a PAX time.
func paxTime(t time.Time) string {
	if t.Nanosecond() == 0 {
		return fmt.Sprint(t.Unix())
	}
	seconds, nanoseconds, sign := t.Unix(), t.Nanosecond(), ""
	if seconds < 0 {
		seconds, nanoseconds, sign = -(seconds + 1), 1e9-nanoseconds, "-"
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, seconds, nanoseconds), "0")
}

// Four times that differ, with 100 ns.
var (
	created  = filetime(133444736001234567)
	modified = filetime(133444737001234568)
	accessed = filetime(133444738000000000)
	changed  = filetime(133444739001234500)
)

// entry is a header as go-winio's backuptar makes them.
func entry(name string, flag byte, mode int64, attributes uint32, sd string) *tar.Header {
	records := map[string]string{
		"MSWINDOWS.fileattr":      fmt.Sprint(attributes),
		"LIBARCHIVE.creationtime": paxTime(created),
	}
	if sd != "" {
		records["MSWINDOWS.rawsd"] = sd
	}
	return &tar.Header{
		Format: tar.FormatPAX, Name: name, Typeflag: flag, Mode: mode,
		ModTime: modified, AccessTime: accessed, ChangeTime: changed, PAXRecords: records,
	}
}

func file(name string, attributes uint32) *tar.Header {
	return entry(name, tar.TypeReg, modeData, attributes, fileSD)
}

func folder(name string) *tar.Header {
	return entry(name, tar.TypeDir, modeDirectory, directory, directorySD)
}

func link(name, target string, attributes uint32) *tar.Header {
	mode := int64(modeReparse)
	if attributes&directory != 0 {
		mode |= modeDirectory
	}
	header := entry(name, tar.TypeSymlink, mode, attributes|reparse, fileSD)
	header.Linkname = target
	return header
}

func junction(name, target string) *tar.Header {
	header := link(name, target, directory)
	header.PAXRecords["MSWINDOWS.mountpoint"] = "1"
	return header
}

// stream is an alternate data stream: mode and times of its owner, no Windows records.
func stream(owner *tar.Header, name string) *tar.Header {
	return &tar.Header{
		Format: tar.FormatPAX, Name: owner.Name + ":" + name, Typeflag: tar.TypeReg, Mode: owner.Mode,
		ModTime: owner.ModTime, AccessTime: owner.AccessTime, ChangeTime: owner.ChangeTime,
	}
}

// hardLink is as hcsshim's exporter writes them.
func hardLink(name, target string) *tar.Header {
	header := entry(name, tar.TypeLink, 0o644, archive, "")
	header.Linkname = target
	return header
}

func whiteout(name string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg}
}

// hcsshim writes everything a base layer and an upper layer of Windows can hold.
func hcsshim() {
	l := newLayer()
	l.add(folder("Files"), "")
	l.add(file("Files/file.txt", archive), "hello")
	l.add(file("Files/hidden.sys", readOnly|hidden|system|archive), "")
	l.add(file("Files/sparse.bin", sparse|archive), strings.Repeat("\x00", 700)+"end")

	owner := file("Files/streams.txt", archive)
	l.add(owner, "data")
	l.add(stream(owner, "Zone.Identifier"), "[ZoneTransfer]\r\nZoneId=3\r\n")
	l.add(stream(owner, "empty"), "")
	owner = folder("Files/dir")
	l.add(owner, "")
	l.add(stream(owner, "note"), "on a directory")

	ea := file("Files/ea.bin", archive)
	ea.PAXRecords["MSWINDOWS.xattr.$KERNEL.PURGE.ESBCACHE"] = base64.StdEncoding.EncodeToString([]byte{0, 1, 0xff})
	ea.PAXRecords["MSWINDOWS.xattr.EMPTY"] = ""
	l.add(ea, "x")

	l.add(link("Files/link-relative", `..\Windows\notepad.exe`, archive), "")
	l.add(link("Files/link-absolute", `C:\Windows\notepad.exe`, 0), "")
	l.add(link("Files/link-unc", `\\server\share\x`, 0), "")
	l.add(link("Files/link-slash", `a/b`, 0), "")
	l.add(link("Files/link-dir", `C:\Windows`, directory), "")
	l.add(link("Files/link-long", `C:\`+strings.Repeat("long ", 30)+"ümlaut", 0), "")
	l.add(link("Files/link-cut", strings.Repeat("t", 99)+"/end", 0), "")
	l.add(junction("Files/Documents and Settings", `C:\Users`), "")

	l.add(folder("Files/"+strings.Repeat("d", 60)), "")
	l.add(folder("Files/"+strings.Repeat("d", 60)+"/"+strings.Repeat("e", 60)), "")
	l.add(file("Files/"+strings.Repeat("d", 60)+"/"+strings.Repeat("e", 60)+"/long.txt", archive), "long")
	// The hundredth byte is a slash.
	l.add(file("Files/"+strings.Repeat("c", 93)+"/cut.txt", archive), "cut")
	l.add(file("Files/Übung/Grüße 漢字 🙂.txt", archive), "wide")

	for _, t := range []struct {
		name  string
		units int64
	}{
		{"never", 0},
		{"first", 1},
		{"before-1970", 116444735985000000},
		{"epoch", 116444736000000000},
		{"whole", 133444736000000000},
		{"late", 2650467743990000000},
	} {
		header := file("Files/time-"+t.name, archive)
		when := filetime(t.units)
		header.ModTime, header.AccessTime, header.ChangeTime = when, when, when
		header.PAXRecords["LIBARCHIVE.creationtime"] = paxTime(when)
		l.add(header, "")
	}

	l.add(file("Files/y-name", archive), "two names")
	l.add(hardLink("Files/z-name", "Files/y-name"), "")
	l.add(hardLink("Files/zz-parent", "Files/Windows/WinSxS/"+strings.Repeat("p", 100)+"/in-a-parent.dll"), "")

	l.add(folder("UtilityVM"), "")
	l.add(folder("UtilityVM/Files"), "")
	l.add(folder("UtilityVM/Files/EFI"), "")
	l.add(file("UtilityVM/Files/EFI/bootmgfw.efi", archive), "MZ")
	l.add(hardLink("UtilityVM/Files/EFI/copy.efi", "UtilityVM/Files/EFI/bootmgfw.efi"), "")
	l.save("hcsshim.tar")
}

// upper is the layer of a container: whiteouts after their directory, hives without descriptors.
func upper() {
	l := newLayer()
	bare := func(name string, flag byte, mode int64, attributes uint32) *tar.Header {
		header := entry(name, flag, mode, attributes, "")
		header.AccessTime = header.ModTime
		header.PAXRecords["LIBARCHIVE.creationtime"] = paxTime(header.ModTime)
		return header
	}
	l.add(bare("Files", tar.TypeDir, modeDirectory, directory), "")
	l.add(folder("Files/Windows"), "")
	l.add(whiteout("Files/Windows/.wh.notepad.exe"), "")
	l.add(whiteout("Files/Windows/.wh."+strings.Repeat("w", 120)), "")
	l.add(whiteout("Files/"+strings.Repeat("d", 80)+"/.wh."+strings.Repeat("w", 60)), "")
	l.add(whiteout("Files/Windows/.wh.gelöscht"), "")
	l.add(file("Files/Windows/new.txt", archive), "new")
	l.add(bare("Hives", tar.TypeDir, modeDirectory, directory), "")
	for _, hive := range []string{"DefaultUser", "Sam", "Security", "Software", "System"} {
		l.add(bare("Hives/"+hive+"_Delta", tar.TypeReg, modeData, archive), "regf")
	}
	l.save("upper.tar")
}

// large is the header of a file of more than 8 GiB, without the file.
func large() {
	l := newLayer()
	header := file("Files/large.vhdx", archive)
	header.Size = 9 << 30
	check(l.tar.WriteHeader(header))
	check(os.WriteFile("large.tar", l.Bytes(), 0o644))
}

// buildkit is as util/winlayers/differ.go on Linux writes.
func buildkit() {
	l := newLayer()
	now := time.Unix(1700000000, 5000000)
	for _, name := range []string{"Hives", "Files"} {
		l.add(&tar.Header{
			Typeflag: tar.TypeDir, Name: name, ModTime: now, Format: tar.FormatPAX,
			PAXRecords: map[string]string{
				"MSWINDOWS.fileattr":      "16",
				"LIBARCHIVE.creationtime": fmt.Sprintf("%d.%d", now.Unix(), now.Nanosecond()),
			},
		}, "")
	}
	add := func(name string, flag byte, mode int64, target, data string) {
		records := map[string]string{
			"LIBARCHIVE.creationtime": fmt.Sprintf("%d.%d", now.Unix(), now.Nanosecond()),
		}
		switch flag {
		case tar.TypeDir:
			records["MSWINDOWS.fileattr"], records["MSWINDOWS.rawsd"] = "16", directorySD
			mode |= 1 << 14
		case tar.TypeReg:
			records["MSWINDOWS.fileattr"], records["MSWINDOWS.rawsd"] = "32", fileSD
			mode |= 1 << 15
		}
		if target != "" {
			target = "Files/" + target
		}
		l.add(&tar.Header{
			Typeflag: flag, Name: "Files/" + name, Linkname: target, Mode: mode, ModTime: now,
			Format: tar.FormatPAX, PAXRecords: records,
		}, data)
	}
	add("app/", tar.TypeDir, 0o755, "", "")
	add("app/run.exe", tar.TypeReg, 0o755, "", "MZ")
	add("app/link.exe", tar.TypeSymlink, 0o777, "run.exe", "")
	add("app/hard.exe", tar.TypeLink, 0o755, "app/run.exe", "")
	add(".wh.old", tar.TypeReg, 0, "", "")
	l.save("buildkit.tar")
}

// crane is as go-containerregistry's internal/windows writes.
func crane() {
	l := newLayer()
	records := map[string]string{"MSWINDOWS.rawsd": usersSD}
	for _, name := range []string{"Files", "Hives"} {
		l.add(&tar.Header{
			Name: name, Typeflag: tar.TypeDir, Mode: 0o555, Format: tar.FormatPAX, PAXRecords: records,
		}, "")
	}
	l.add(&tar.Header{
		Name: "Files/app/", Typeflag: tar.TypeDir, Mode: 0o755, Format: tar.FormatPAX, PAXRecords: records,
	}, "")
	l.add(&tar.Header{
		Name: "Files/app/main.exe", Typeflag: tar.TypeReg, Mode: 0o555, Format: tar.FormatPAX,
		PAXRecords: records,
	}, "MZ")
	l.save("crane.tar")
}

// imgutil is as its layer writer does: missing parents, owner by id.
func imgutil() {
	l := newLayer()
	add := func(name string, flag byte, sd, data string) {
		l.add(&tar.Header{
			Name: name, Typeflag: flag, Format: tar.FormatPAX, ModTime: time.Unix(315532801, 0),
			PAXRecords: map[string]string{"MSWINDOWS.rawsd": sd},
		}, data)
	}
	add("Files", tar.TypeDir, adminSD, "")
	add("Hives", tar.TypeDir, adminSD, "")
	add("Files/cnb", tar.TypeDir, adminSD, "")
	add("Files/cnb/lifecycle", tar.TypeDir, usersSD, "")
	add("Files/cnb/lifecycle/launcher.exe", tar.TypeReg, usersSD, "MZ")
	l.save("imgutil.tar")
}

// bsdtar knows nothing of Windows: plain ustar, `./` before and `/` after names.
func bsdtar() {
	l := newLayer()
	when := time.Unix(1650000000, 0)
	for _, name := range []string{"./", "./Files/", "./Files/Windows/", "./Files/Windows/System32/",
		"./Files/Windows/System32/config/"} {
		l.add(&tar.Header{
			Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: when, Uname: "root", Gname: "root",
			Format: tar.FormatUSTAR,
		}, "")
	}
	for _, hive := range []string{"DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"} {
		l.add(&tar.Header{
			Name: "./Files/Windows/System32/config/" + hive, Typeflag: tar.TypeReg, Mode: 0o644,
			ModTime: when, Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}, "regf")
	}
	l.add(&tar.Header{
		Name: "./Files/License.txt", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: when,
		Format: tar.FormatGNU,
	}, "CC0")
	l.add(&tar.Header{
		Name: "./Files/" + strings.Repeat("g", 120), Typeflag: tar.TypeReg, Mode: 0o644, ModTime: when,
		Format: tar.FormatGNU,
	}, "GNU")
	l.save("bsdtar.tar")
}

func main() {
	hcsshim()
	upper()
	large()
	buildkit()
	crane()
	imgutil()
	bsdtar()
}
