package fs

import (
	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the nodes and handles can do. go-fuse finds the operations by these interfaces: one that is spelled wrong would silently not be
// there, and unlink and rmdir would even succeed.
var (
	_ fuse.RawFileSystem = (*rawFS)(nil)

	_ gofs.NodeOnAdder   = (*rootNode)(nil)
	_ gofs.NodeGetattrer = (*rootNode)(nil)
	_ gofs.NodeStatfser  = (*rootNode)(nil)
	_ gofs.NodeReaddirer = (*rootNode)(nil)
	_ gofs.NodeLookuper  = (*rootNode)(nil)
	_ gofs.NodeCreater   = (*rootNode)(nil)
	_ gofs.NodeUnlinker  = (*rootNode)(nil)
	_ gofs.NodeRenamer   = (*rootNode)(nil)
	_ gofs.NodeRmdirer   = (*rootNode)(nil)
	_ gofs.NodeMkdirer   = (*rootNode)(nil)
	_ gofs.NodeMknoder   = (*rootNode)(nil)
	_ gofs.NodeSymlinker = (*rootNode)(nil)
	_ gofs.NodeLinker    = (*rootNode)(nil)
	_ gofs.NodeFsyncer   = (*rootNode)(nil)

	_ gofs.NodeOpener    = (*volumeNode)(nil)
	_ gofs.NodeGetattrer = (*volumeNode)(nil)
	_ gofs.NodeSetattrer = (*volumeNode)(nil)
	_ gofs.FileReleaser  = (*volumeHandle)(nil)
	_ gofs.FileFsyncer   = (*volumeHandle)(nil)
	_ gofs.FileAllocater = (*volumeHandle)(nil)
	_ gofs.FileLseeker   = (*volumeHandle)(nil)

	_ gofs.NodeOnAdder   = (*ctlDir)(nil)
	_ gofs.NodeGetattrer = (*ctlDir)(nil)
	_ gofs.NodeSetattrer = (*ctlDir)(nil)
	_ gofs.NodeReaddirer = (*ctlDir)(nil)
	_ gofs.NodeLookuper  = (*ctlDir)(nil)
	_ gofs.NodeCreater   = (*ctlDir)(nil)
	_ gofs.NodeUnlinker  = (*ctlDir)(nil)
	_ gofs.NodeRmdirer   = (*ctlDir)(nil)
	_ gofs.NodeRenamer   = (*ctlDir)(nil)
	_ gofs.NodeMkdirer   = (*ctlDir)(nil)
	_ gofs.NodeMknoder   = (*ctlDir)(nil)
	_ gofs.NodeSymlinker = (*ctlDir)(nil)
	_ gofs.NodeLinker    = (*ctlDir)(nil)
	_ gofs.NodeFsyncer   = (*ctlDir)(nil)

	_ gofs.NodeOpener    = (*ctlNode)(nil)
	_ gofs.NodeGetattrer = (*ctlNode)(nil)
	_ gofs.NodeSetattrer = (*ctlNode)(nil)
	_ gofs.FileReader    = (*ctlHandle)(nil)
	_ gofs.FileWriter    = (*ctlHandle)(nil)
	_ gofs.FileFsyncer   = (*ctlHandle)(nil)
	_ gofs.FileReader    = (*eventsHandle)(nil)
	_ gofs.FileWriter    = (*eventsHandle)(nil)
	_ gofs.FileReleaser  = (*eventsHandle)(nil)
	_ gofs.FileFsyncer   = (*eventsHandle)(nil)
)
