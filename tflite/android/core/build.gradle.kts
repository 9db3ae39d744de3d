plugins {
    id("org.jetbrains.kotlin.jvm")
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    testImplementation("net.java.dev.jna:jna:5.13.0") // reaches LiteRT's C library on a desktop
}
