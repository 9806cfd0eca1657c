/**
 * Kernel operations as data: planned by pure code, done in a batch by the kernel worker, recorded by the fake.
 * Each is idempotent where its comment says so, for recovery runs plans again.
 */
export type KernelOp = MountOp | NetnsOp | LinkOp | NftOp | FileOp;

export type MountFlag =
  | "ro"
  | "nosuid"
  | "nodev"
  | "noexec"
  | "bind"
  | "rec"
  | "remount"
  | "private"
  | "rprivate"
  | "slave"
  | "rslave"
  | "shared"
  | "rshared";

export type MountOp =
  /**
   * mount(2). `data` is the file system's own option string. A bind takes attributes ("ro", recursive with "rec") and any mount a
   * propagation in the same operation; a propagation alone, without fstype, changes a mount that is there.
   */
  | {
      readonly op: "mount";
      readonly source: string;
      readonly target: string;
      readonly fstype?: string;
      readonly flags?: readonly MountFlag[];
      readonly data?: string;
    }
  /** umount2(2). Not mounted, or no such path, is no error. `detach` is MNT_DETACH. */
  | { readonly op: "unmount"; readonly target: string; readonly detach?: boolean };

export type NetnsOp =
  /** A fresh network namespace with `lo` up, pinned by a bind mount on the file `path` (made when missing). */
  | { readonly op: "netns-create"; readonly path: string }
  /** Unpins it: the kernel destroys its links when its last process is gone. Missing is no error. */
  | { readonly op: "netns-remove"; readonly path: string };

/** `netns` is the path of a pinned namespace; without it the operation is the host's. */
export type LinkOp =
  /** Existing with this name is no error. Made up, with the given addresses ("10.0.0.1/24"). */
  | {
      readonly op: "bridge-create";
      readonly name: string;
      readonly mtu: number;
      readonly addresses: readonly string[];
      readonly mac?: string;
    }
  /** A veth pair: `name` on the host in `bridge`, up, with hairpin when asked; `peer` inside `netns` (down, see `link-configure`). */
  | {
      readonly op: "veth-create";
      readonly name: string;
      readonly bridge: string;
      readonly netns: string;
      readonly peer: string;
      readonly mtu: number;
      readonly mac: string;
      readonly hairpin?: boolean;
    }
  /** Puts a link that is there into a bridge, one that was made anew for instance, and brings it up. A missing link is no error. */
  | { readonly op: "bridge-join"; readonly name: string; readonly bridge: string; readonly hairpin?: boolean }
  /** Sets addresses and routes and brings it up, in one netlink message batch. */
  | {
      readonly op: "link-configure";
      readonly netns?: string;
      readonly name: string;
      readonly rename?: string;
      readonly addresses: readonly string[];
      readonly routes: readonly Route[];
    }
  /** Missing is no error. */
  | { readonly op: "link-delete"; readonly netns?: string; readonly name: string }
  | { readonly op: "route-replace"; readonly netns?: string; readonly route: Route }
  | { readonly op: "route-delete"; readonly netns?: string; readonly route: Route }
  /** Writes /proc/sys/<key with slashes>, in `netns` when given. `optional`: a missing key is no error. */
  | {
      readonly op: "sysctl";
      readonly netns?: string;
      readonly key: string;
      readonly value: string;
      readonly optional?: boolean;
    };

export interface Route {
  /** "0.0.0.0/0" or "::/0" for the default route. */
  readonly destination: string;
  readonly gateway?: string;
  readonly device?: string;
  readonly metric?: number;
}

export type NftOp =
  /** Runs a whole nft script atomically (`nft -f -`): base rules at start and with a network, 5 to 15 ms. Only ever our own table. */
  | { readonly op: "nft-script"; readonly script: string }
  /**
   * Adds elements to a map or set of table `inet <table>`; by raw nfnetlink where possible (0.1 ms), else by nft.
   * Keys and data are in nft's text form: `["10.1.2.3 . tcp . 80", "172.17.0.2 . 80"]`. Existing is no error.
   */
  | {
      readonly op: "nft-add-elements";
      readonly table: string;
      readonly set: string;
      readonly elements: readonly NftElement[];
    }
  /** Missing is no error. */
  | {
      readonly op: "nft-delete-elements";
      readonly table: string;
      readonly set: string;
      readonly elements: readonly NftElement[];
    }
  /** Changes nothing; fails with ENOENT when table `inet <table>` has no such set: somebody flushed the ruleset. 0.1 ms. */
  | { readonly op: "nft-require"; readonly table: string; readonly set: string }
  /**
   * Forgets the tracked connections that were opened to `port` on one of `addresses`: a UDP peer that never pauses would else
   * be sent for ever where its first packet was. None is no error.
   */
  | {
      readonly op: "conntrack-forget";
      readonly protocol: "tcp" | "udp" | "sctp";
      readonly port: number;
      readonly addresses: readonly string[];
    };

export interface NftElement {
  readonly key: string;
  /** For maps. */
  readonly value?: string;
}

export type FileOp =
  /** setxattr without following a final symlink. */
  | { readonly op: "set-xattr"; readonly path: string; readonly name: string; readonly value: Uint8Array }
  | {
      readonly op: "mknod";
      readonly path: string;
      readonly type: "char" | "block" | "fifo";
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };
