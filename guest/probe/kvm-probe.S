/*
 * A 64 KiB BIOS that needs of a hypervisor what a kernel needs: it leaves real mode for long mode with paging, loops over memory, and
 * says so at the isa-debug-exit port (QEMU then exits with (42 << 1) | 1 = 85). A /dev/kvm that only seems to work never gets there.
 */
  .section .text
  .globl start
  .code16
start:
  cli
  lgdtl %cs:gdtr - start
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  ljmpl $0x08, $0xf0000 + (protected - start)

  .code32
protected:
  movw $0x10, %ax
  movw %ax, %ds
  movw %ax, %es
  /* Page tables at 0x1000: the first 2 MiB are themselves. */
  cld
  xorl %eax, %eax
  movl $0x1000, %edi
  movl $0xc00, %ecx
  rep stosl
  movl $0x2003, 0x1000
  movl $0x3003, 0x2000
  movl $0x0083, 0x3000
  movl %cr4, %eax
  orl $0x20, %eax
  movl %eax, %cr4
  movl $0x1000, %eax
  movl %eax, %cr3
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x100, %eax
  wrmsr
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  ljmpl $0x18, $0xf0000 + (long_mode - start)

  .code64
long_mode:
  movl $200000, %ecx
1:
  incq 0x4000
  decl %ecx
  jnz 1b
  movb $42, %al
  outb %al, $0xf4
2:
  hlt
  jmp 2b

  .balign 8
gdt:
  .quad 0
  .quad 0x00cf9a000000ffff
  .quad 0x00cf92000000ffff
  .quad 0x00af9a000000ffff
gdtr:
  .word . - gdt - 1
  .long 0xf0000 + (gdt - start)

  /* Where the processor begins: 16 bytes from the end. */
  .org 0xfff0
  .code16
  ljmpw $0xf000, $0
  .org 0x10000
